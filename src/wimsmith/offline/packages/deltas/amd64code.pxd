# C types of amd64code.py, for the compiled form. What the numbers mean is there.
import cython
from libc.stdint cimport uint32_t


@cython.locals(
    text="const unsigned char[::1]",
    form_of="const unsigned char[::1]",
    value_of="const unsigned char[::1]",
    long_form_of="const unsigned char[::1]",
    long_value_of="const unsigned char[::1]",
    at=cython.Py_ssize_t,
    limit=cython.Py_ssize_t,
    field=cython.Py_ssize_t,
    need=cython.Py_ssize_t,
    opcode=uint32_t,
    operand=uint32_t,
    mode=uint32_t,
    register=uint32_t,
    form=cython.int,
    value=cython.int,
    short_words=cython.bint,
    short_addresses=cython.bint,
    wide=cython.bint,
    test=cython.bint,
)
cpdef operands(code, Py_ssize_t start, Py_ssize_t end)
