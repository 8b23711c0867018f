# C types of copystream.py, for the compiled form. Facts about the format are there.
import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from wimsmith.offline.packages.deltas.bits cimport BitReader, HuffmanTable


cdef class _Diagonal:
    cdef int64_t[::1] distances
    cdef int64_t[::1] places


@cython.final
cdef class _Copier:
    cdef BitReader reader
    cdef bytearray output
    cdef _Diagonal diagonal
    cdef public Py_ssize_t position
    cdef Py_ssize_t end
    cdef Py_ssize_t zone
    cdef int64_t newest
    cdef int64_t second
    cdef int64_t third

    @cython.locals(
        reader=BitReader,
        entries="unsigned int[::1]",
        target="unsigned char[::1]",
        one=uint64_t,
        mask=uint64_t,
        held=uint64_t,
        held_bits=cython.Py_ssize_t,
        position=cython.Py_ssize_t,
        entry=uint32_t,
        symbol=uint32_t,
        slot=cython.int,
        distance=int64_t,
        length=cython.Py_ssize_t,
    )
    cpdef run(self, HuffmanTable main, HuffmanTable long, HuffmanTable aligned, Py_ssize_t stop)

    @cython.locals(distance=int64_t)
    cdef int64_t _distance(
        self, int slot, Py_ssize_t position, HuffmanTable aligned
    ) except? -1

    @cython.locals(value=int64_t)
    cdef int64_t _aside(self, int slot) except? -1

    @cython.locals(reader=BitReader, base=int64_t, high=int64_t, extra_bits=int64_t)
    cdef int64_t _far(self, int64_t code, HuffmanTable aligned) except? -1

    @cython.locals(reader=BitReader)
    cdef int64_t _escaped(self) except -1

    @cython.locals(length=cython.Py_ssize_t)
    cdef Py_ssize_t _length(self, int short, HuffmanTable long) except -1

    @cython.locals(end=cython.Py_ssize_t, stop=cython.Py_ssize_t)
    cdef int _copy(
        self, Py_ssize_t position, int64_t distance, Py_ssize_t length, int slot
    ) except -1

    @cython.locals(source=cython.Py_ssize_t)
    cdef int _copy_piece(
        self, Py_ssize_t position, int64_t distance, Py_ssize_t length
    ) except -1
