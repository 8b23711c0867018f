"""What a user consents to with `--experimental`."""

CONSENT = (
    "nobody has yet proved on a running Windows that an image serviced by this program's own "
    "engine behaves as one serviced by DISM"
)
