# C types of bits.py, for the compiled form. Facts about the format are there.
import cython
from libc.stdint cimport uint32_t, uint64_t


@cython.final
cdef class BitReader:
    cdef bytes data
    cdef public uint64_t held
    cdef public Py_ssize_t held_bits, next_unit, total_bits
    cdef unsigned int[::1] units

    @cython.locals(unit=uint64_t)
    cpdef refill(self)

    @cython.locals(one=uint64_t, value=uint64_t)
    cpdef uint64_t bits(self, Py_ssize_t count) except? 0xFFFFFFFF

    @cython.locals(zeros=object)
    cpdef long_number(self)


@cython.final
cdef class HuffmanTable:
    cdef readonly Py_ssize_t width
    cdef unsigned int[::1] entries

    @cython.locals(one=uint64_t, entry=uint32_t, length=uint32_t)
    cpdef Py_ssize_t read(self, BitReader reader) except -1
