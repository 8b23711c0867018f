"""What to do about WIM files that are not read or written here: commands that exist.

In capitals: what the user puts in. A test runs each command on such a file.
"""

EXPORT_AS_LZX = "`wimsmith wim export --compress lzx SOURCE INDEX TARGET` makes a file that can be."
JOIN = "`wimlib-imagex join TARGET PARTS` makes one file of all parts."
EXPORT_PIPABLE = "`wimlib-imagex export SOURCE all TARGET` makes an ordinary file."
EXPORT_DELTA = "`wimlib-imagex export SOURCE all TARGET --ref=BASE` makes a whole file."
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
