"""`wimsmith wim`: WIM files on this machine, without a site."""

from cyclopts import App

from wimsmith.cli.wim import (
    calibrate,
    check,
    compare,
    copy,
    edit,
    editlist,
    health,
    info,
    look,
    service,
    sets,
    volumes,
)

app = App(name="wim", help="WIM files on this machine (no site needed).", help_format="plaintext")
# Not named but imported, so that `wimsmith wim --help` says what each of them does.
for _command in (
    info.info,
    look.ls,
    look.cat,
    look.packages,
    look.features,
    compare.diff,
    check.verify,
    health.health,
    calibrate.calibrate,
    check.extract,
    edit.add,
    edit.rm,
    edit.mv,
    edit.replace,
    edit.mkdir,
    editlist.edit,
    service.service,
    copy.export,
    copy.append,
    sets.split,
    sets.join,
    sets.optimize,
    volumes.capture,
    volumes.apply,
):
    app.command(_command)
