"""What to do about WIM files that are not read or written here: commands that exist.

In capitals: what the user puts in. A test runs each command on such a file.
"""

EXPORT_AS_LZX = "`wimsmith wim export --compress lzx SOURCE INDEX TARGET` makes a file that can be."
JOIN = "Put all parts into one folder. `wimsmith wim join TARGET PART...` makes one file of them."
EXPORT_DELTA = "`wimsmith wim export SOURCE all TARGET --ref BASE` makes a whole file."
EXPORT_SMALLER_CHUNKS = (
    "`wimlib-imagex export SOURCE all TARGET --compress=lzx` makes a file of usual chunks."
)
EXPORT_UNFINISHED = (
    "Let the program that writes it end. If it was stopped:"
    " `wimlib-imagex export SOURCE all TARGET` takes what was there before it began."
)
DECRYPT = (
    "Decrypt it with the tool that downloaded it, or take install.wim or install.esd from the ISO"
    " file of the same Windows."
)
EXPORT_WITH_DISM = (
    "`dism /Export-Image /SourceImageFile:SOURCE /SourceIndex:INDEX /DestinationImageFile:TARGET`"
    " on a current Windows makes a file of the present version."
)
