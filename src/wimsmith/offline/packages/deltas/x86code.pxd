# C types of x86code.py, for the compiled form.
import cython
from libc.stdint cimport int64_t

from wimsmith.offline.packages.deltas.peimage cimport PeImage
from wimsmith.offline.packages.deltas.petransform cimport Rewriting


@cython.locals(
    image=PeImage,
    distance=int64_t,
    following=int64_t,
    target=int64_t,
    moved=int64_t,
)
cdef _moved_distance(Rewriting work, section, Py_ssize_t opcode)
