# C types of petransform.py, for the compiled form.
import cython

from wimsmith.offline.packages.deltas.peimage cimport PeImage


@cython.final
cdef class Rewriting:
    cdef readonly PeImage image
    cdef readonly object rift, target_base
    cdef readonly bytearray owned

    @cython.locals(place=cython.Py_ssize_t)
    cpdef own(self, Py_ssize_t offset, Py_ssize_t size)
    cpdef move_address(self, Py_ssize_t offset)
    cpdef move_pointer(self, Py_ssize_t offset, int size)
