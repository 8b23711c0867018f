# C types of peimage.py, for the compiled form.
import cython
from libc.stdint cimport uint32_t


@cython.final
cdef class PeImage:
    cdef readonly bytearray data
    cdef Py_ssize_t _steps_left
    cdef readonly Py_ssize_t header, optional, image_bytes, first_address
    cdef readonly uint32_t machine, time_stamp
    cdef readonly bint wide
    cdef readonly object base
    cdef readonly tuple sections

    cpdef directory(self, int number)
    cpdef section_of(self, Py_ssize_t address)
    cpdef offset(self, Py_ssize_t address)
    cpdef offset_or_header(self, Py_ssize_t address)
    cpdef bint has(self, Py_ssize_t offset, Py_ssize_t size) except -1
    cpdef spend(self, Py_ssize_t steps=*)

    @cython.locals(data=bytearray)
    cpdef uint32_t u16(self, Py_ssize_t offset) except? 0xFFFF

    @cython.locals(data=bytearray, high=uint32_t)
    cpdef uint32_t u32(self, Py_ssize_t offset) except? 0xFFFFFFFF

    cpdef u64(self, Py_ssize_t offset)
    cpdef put32(self, Py_ssize_t offset, value)
    cpdef put64(self, Py_ssize_t offset, value)
    cdef int _check(self, Py_ssize_t offset, Py_ssize_t size) except -1
