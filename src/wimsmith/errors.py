"""Every error a user can meet.

A class docstring is the message; `{}` takes what the error is about. `code` is stable for ever and
names the entry in docs/reference/errors.md; `status` is for HTTP; `exit` for the command line.

    WimsmithError
    ├── Cancelled, Interrupted
    ├── DamagedInput            foreign bytes that break their format's rules
    │   ├── DamagedWim, DamagedHive, DamagedPackage, DamagedManifest, DamagedDelta, DamagedCatalog
    │   └── DamagedSecurity, DamagedRegFile, UnsafePath
    ├── LimitExceeded           foreign bytes that follow the rules but ask for too much
    ├── NotSupported            understood, and not done: refused with the reason
    ├── UnknownAlias            an SDDL alias that only a domain or a running system could resolve
    ├── Untrusted               a link of the trust chain is broken or missing
    ├── SelfCheckFailed         an update that reads back other than it was written
    ├── WorkerFailed            a child process ended badly
    └── the site's errors
"""

from typing import ClassVar


class WimsmithError(Exception):
    """Something went wrong: {}"""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit: ClassVar[int] = 20
    hint: str | None = None

    def __init__(self, *about: object, hint: str | None = None) -> None:
        super().__init__(*about)
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return (type(self).__doc__ or "").format(*self.args)


class Cancelled(WimsmithError):
    """Cancelled: {}"""

    code = "cancelled"
    status = 409
    exit = 21


class Interrupted(WimsmithError):
    """Interrupted by shutdown: {}"""

    code = "interrupted"
    status = 503
    exit = 22
    hint = "The work goes on when the service starts again."


class DamagedInput(WimsmithError):
    """The input is damaged: {}"""

    code = "damaged"
    status = 422
    exit = 30


class DamagedWim(DamagedInput):
    """The WIM file is damaged: {}"""

    code = "damaged-wim"
    exit = 31
    hint = "Compare its hash with the one published by where it came from, and copy it again."


class DamagedHive(DamagedInput):
    """The registry hive is damaged: {}"""

    code = "damaged-hive"
    exit = 32
    hint = "Look whether it is the right file, copy it again, or take it from another image."


class DamagedPackage(DamagedInput):
    """The update package is damaged: {}"""

    code = "damaged-package"
    exit = 33
    hint = "Download the package again."


class DamagedManifest(DamagedInput):
    """The manifest is damaged: {}"""

    code = "damaged-manifest"
    exit = 34


class DamagedDelta(DamagedInput):
    """The delta is damaged: {}"""

    code = "damaged-delta"
    exit = 35


class DamagedCatalog(DamagedInput):
    """The security catalog is damaged: {}"""

    code = "damaged-catalog"
    exit = 36


class UnsafePath(DamagedInput):
    """The name cannot be used on Windows or leaves its folder: {}"""

    code = "unsafe-path"
    exit = 37


class DamagedSecurity(DamagedInput):
    """The security descriptor is damaged: {}"""

    code = "damaged-security"
    exit = 44


class DamagedRegFile(DamagedInput):
    """The .reg file is damaged: {}"""

    code = "damaged-reg-file"
    exit = 48
    hint = "Nothing was changed. The Registry Editor would skip such a line without a word."


class UnknownAlias(WimsmithError):
    """The security descriptor names an account that cannot be known here: {}"""

    code = "unknown-alias"
    status = 422
    exit = 45


class LimitExceeded(WimsmithError):
    """A limit that protects this server was exceeded: {}"""

    code = "limit-exceeded"
    status = 413
    exit = 38


class NotSupported(WimsmithError):
    """Not supported: {1} ({0})

    The first argument is the reason code of the table of verdicts, the second a sentence.
    """

    code = "not-supported"
    status = 422
    exit = 39

    def __str__(self) -> str:
        return f"Not supported: {self.args[1]} ({self.args[0]})"

    @property
    def reason(self) -> str:
        """The reason code, for example `advanced-new:configuration`."""
        return str(self.args[0])


class Untrusted(WimsmithError):
    """The package is not trusted: {1} ({0})

    The first argument names the broken link of the trust chain, the second is a sentence.
    """

    code = "untrusted"
    status = 422
    exit = 40

    def __str__(self) -> str:
        return f"The package is not trusted: {self.args[1]} ({self.args[0]})"

    @property
    def reason(self) -> str:
        """The reason code of the table of verdicts, for example `untrusted:manifest-hash`."""
        return f"untrusted:{self.args[0]}"


class WorkerFailed(WimsmithError):
    """The worker process failed: {}"""

    code = "worker-failed"
    exit = 41


class PathConflict(WimsmithError):
    """A path of the image is taken by something of another kind: {}"""

    code = "path-conflict"
    status = 409
    exit = 46


class SelfCheckFailed(WimsmithError):
    """The update did not come out as planned and was taken back: {}"""

    code = "self-check"
    exit = 47


class NotFound(WimsmithError):
    """Not found: {}"""

    code = "not-found"
    status = 404
    exit = 50


class InvalidInput(WimsmithError):
    """Not accepted: {}"""

    code = "invalid-input"
    status = 422
    exit = 51


class InvalidState(WimsmithError):
    """Not possible now: {}"""

    code = "invalid-state"
    status = 409
    exit = 52


class NameInUse(WimsmithError):
    """The name is in use: {}"""

    code = "name-in-use"
    status = 409
    exit = 53
    hint = "Choose another name."


class ChangedMeanwhile(WimsmithError):
    """Somebody else was first: {}"""

    code = "changed-meanwhile"
    status = 412
    exit = 54
    hint = "Look at the present state, then repeat the change if it is still wanted."


class RevisionRequired(WimsmithError):
    """The request must say which revision it changes: {}"""

    code = "revision-required"
    status = 428
    exit = 55
    hint = "Send the ETag of what was read as If-Match."


class PathUnreachable(WimsmithError):
    """The path cannot be reached: {}"""

    code = "path-unreachable"
    status = 422
    exit = 56


class PathNotMapped(WimsmithError):
    """No local folder is known for the network path: {}"""

    code = "path-not-mapped"
    status = 422
    exit = 57


class NoSuchIndex(WimsmithError):
    """The file has no such index: {}"""

    code = "no-such-index"
    status = 422
    exit = 58


class NotEnoughSpace(WimsmithError):
    """Not enough space: {}"""

    code = "not-enough-space"
    status = 507
    exit = 59


class VersionChanged(WimsmithError):
    """The image has another current version than when the work began: {}"""

    code = "version-changed"
    status = 409
    exit = 60
    hint = "Nothing was published. Service the present version."


class NativeServicingOff(WimsmithError):
    """Native servicing is experimental and switched off at this site: {}"""

    code = "native-servicing-off"
    status = 409
    exit = 61


class NotOffered(WimsmithError):
    """Not offered: {}"""

    code = "not-offered"
    status = 422
    exit = 62


class StateInUse(WimsmithError):
    """The state directory is in use by another process: {}"""

    code = "state-in-use"
    status = 409
    exit = 63


class TcpNeedsAuthentication(WimsmithError):
    """The service does not listen on a network port before it can tell users apart: {}"""

    code = "tcp-needs-authentication"
    status = 422
    exit = 64
    hint = "Use the unix socket, for example through ssh."


class Forbidden(WimsmithError):
    """Not allowed: {}"""

    code = "forbidden"
    status = 403
    exit = 65


class AlreadyExists(WimsmithError):
    """Exists already: {}"""

    code = "already-exists"
    status = 409
    exit = 66


class DamagedContent(WimsmithError):
    """The content library does not hold what it should: {}"""

    code = "damaged-content"
    exit = 67


class UnreadableFacts(WimsmithError):
    """Facts that are kept of an image or update cannot be read: {}"""

    code = "unreadable-facts"
    exit = 78


class VerificationFailed(WimsmithError):
    """The new image is not what it should be, and was not published: {}"""

    code = "verification-failed"
    exit = 68


class UpdateFailed(WimsmithError):
    """An update failed and nothing was committed: {}"""

    code = "update-failed"
    status = 422
    exit = 69
    hint = "Leave the update out, or ask to continue on errors."


class CommitFailed(WimsmithError):
    """The new image could not be written: {}"""

    code = "commit-failed"
    exit = 70


class GaveUp(WimsmithError):
    """The job was started again and again, and never ended: {}"""

    code = "gave-up"
    exit = 71


class DatabaseUnusable(WimsmithError):
    """The database cannot be used: {}"""

    code = "database-unusable"
    status = 503
    exit = 72


class SiteUnreachable(WimsmithError):
    """The service does not answer: {}"""

    code = "site-unreachable"
    status = 503
    exit = 73
    hint = "Start it with `wimsmith serve`, or name its state directory with --state."


class NothingApplied(WimsmithError):
    """Nothing applied: {}"""

    code = "nothing-applied"
    status = 422
    exit = 74
    hint = "`wimsmith image updates IMAGE` gives the reason for each index and update."


class PartlyApplied(WimsmithError):
    """Some updates were not applied: {}"""

    code = "partly-applied"
    status = 422
    exit = 75
    hint = "`wimsmith image updates IMAGE` gives the reason for each index and update."


class ConsentNeeded(WimsmithError):
    """Experimental, and not yet consented to: {}"""

    code = "consent-needed"
    status = 409
    exit = 76
    hint = "Say --experimental if this is what you want, and try the result before you deploy it."


class CleanUpFailed(WimsmithError):
    """The component store could not be cleaned up, and nothing was committed: {}"""

    code = "clean-up-failed"
    status = 422
    exit = 77
    hint = "Service the image without removing superseded components."
