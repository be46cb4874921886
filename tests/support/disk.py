"""A small disk of one's own."""
import ctypes, os, pathlib, shutil, tempfile


def small_disk(test, size, *within):
    """A file system of so many bytes that only this process and its children see, or the test is skipped."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = tempfile.mkdtemp(prefix="winnow-e2e-disk-")
    test.addCleanup(shutil.rmtree, place, ignore_errors=True)
    place = os.path.join(place, *within)
    os.makedirs(place, exist_ok=True)
    new_namespace, recursive, private = 0x20000, 0x4000, 1 << 18
    if libc.unshare(new_namespace) or libc.mount(b"none", b"/", None, recursive | private, None):
        test.skipTest("needs the right to mount: a private mount namespace cannot be made here")
    if libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, f"size={size},mode=755".encode()):
        test.skipTest(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    test.addCleanup(libc.umount2, place.encode(), 2)
    return pathlib.Path(place)
