"""Searches initial direction numbers for the first dimensions of the Sobol sequence in sampler/qmc.c.

Dimension 0 is the van der Corput sequence; dimension d >= 1 uses the d-th primitive polynomial over GF(2) in order of degree and value. Any odd
initial numbers give every single coordinate its stratification; they differ in how well pairs of coordinates fill the plane. For each dimension
in turn the one is kept, of some hundred drawn, whose two-dimensional projections with the dimensions before it have the smallest t-values.
Prints the rows of the C table.
"""

import random
import sys


def factors(n):
    found, p = set(), 2
    while p * p <= n:
        while n % p == 0:
            found.add(p)
            n //= p
        p += 1
    return found | ({n} if n > 1 else set())


def mulmod(a, b, poly, deg):
    r = 0
    while b:
        if b & 1:
            r ^= a
        b >>= 1
        a <<= 1
        if a >> deg & 1:
            a ^= poly
    return r


def powmod(e, poly, deg):
    r, base = 1, 2 if deg > 1 else 2 ^ poly
    while e:
        if e & 1:
            r = mulmod(r, base, poly, deg)
        base = mulmod(base, base, poly, deg)
        e >>= 1
    return r


def primitive_polynomials():
    deg = 1
    while True:
        order = 2**deg - 1
        primes = factors(order)
        for middle in range(2 ** (deg - 1)):
            poly = 1 << deg | middle << 1 | 1
            if powmod(order, poly, deg) == 1 and all(powmod(order // p, poly, deg) != 1 for p in primes if p != order or deg > 1):
                if deg == 1 or powmod(1, poly, deg) != 1:
                    yield deg, poly
        deg += 1


def directions(deg, poly, m, count=12):
    m = list(m)
    for k in range(deg, count):
        x = m[k - deg] ^ (m[k - deg] << deg)
        for j in range(1, deg):
            if poly >> (deg - j) & 1:
                x ^= m[k - j] << j
        m.append(x)
    return [m[k] << (31 - k) for k in range(count)]


def rows(v, m):
    return [sum((v[k] >> (31 - r) & 1) << k for k in range(m)) for r in range(m)]


def t_value(a, b, m):
    """Largest defect over all splits of the two generator matrices' leading rows."""
    worst = 0
    for q in range(m + 1):
        basis, rank, want = [], 0, 0
        # alternate would not matter: the rank of the first q rows of a and the first m - q of b
        for row in a[:q] + b[: m - q]:
            for x in basis:
                row = min(row, row ^ x)
            want += 1
            if row:
                basis.append(row)
                rank += 1
            else:
                break
        worst = max(worst, 0 if rank == m else m - rank)
    return worst


def main(dims, tries):
    rng = random.Random(20261121)
    sizes = (4, 6, 8, 10)
    chosen = [[1 << (31 - k) for k in range(12)]]
    polys = primitive_polynomials()
    for _ in range(1, dims):
        deg, poly = next(polys)
        best = None
        for _ in range(tries):
            m = [rng.randrange(2**k) * 2 + 1 for k in range(deg)]
            v = directions(deg, poly, m)
            cost = 0
            for size in sizes:
                own = rows(v, size)
                for other in chosen:
                    cost += 2 ** t_value(own, rows(other, size), size)
                if best and cost >= best[0]:
                    break
            if best is None or cost < best[0]:
                best = (cost, m, v)
        chosen.append(best[2])
        print("    {%s}," % ", ".join(map(str, best[1])), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64, int(sys.argv[2]) if len(sys.argv) > 2 else 150)
