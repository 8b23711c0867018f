"""Planning on a site: what is kept of images and updates, exclusions, and plans before a run."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from sitekit import Api, Practice
from wimsmith.images.models import IndexSnapshot
from wimsmith.offline.components.snapshots import snapshot_of
from wimsmith.offline.image import open_view
from wimsmith.offline.planning.snapshot import Snapshot, unpack
from wimsmith.offline.wim.format.container import open_wim
from wimsmith.offline.wim.workers.worker import WorkerCodec
from wimsmith.updates.models import UpdateDescriptionRow


@pytest.fixture
def ready(api: Api, practice: Practice) -> Api:
    api.allow_servicing(practice.fingerprint)
    return api


def likely(api: Api, image: str) -> dict[str, tuple[str, int, str]]:
    """What the list of choices says of each update on the first index."""
    found = api.get(f"/images/{image}/choices")["items"]
    firsts = {one["article"]: one["indexes"][0] for one in found}
    return {name: (one["likely"], one["status"], one["code"]) for name, one in firsts.items()}


def exclude(api: Api, subject: str, image: str | None = None) -> int:
    body = {"subject": subject, "reason": "breaks the till"} | ({"image": image} if image else {})
    answer = api.client.post("/api/v1/servicing/exclusions", json=body)
    assert answer.status_code == 201, answer.text
    number = answer.json()["id"]
    assert isinstance(number, int)
    return number


def test_an_index_is_kept_as_its_image_says(ready: Api, practice: Practice) -> None:
    """Also after a run: the snapshot is that of the new version."""
    image = ready.add(practice.image(2))
    ready.service(image, ready.import_update(practice.update("small")))

    with ready.site.database.read() as session:
        rows = session.scalars(select(IndexSnapshot).order_by(IndexSnapshot.index_id)).all()
    assert len(rows) == 4
    blob = ready.site.store.path(ready.get(f"/images/{image}")["sha256"])
    with WorkerCodec() as codec, open_wim(blob, codec) as wim:
        for number, row in enumerate(rows[2:], 1):
            found = snapshot_of(open_view(wim, number))
            assert Snapshot.from_data(unpack(row.data)) == found
            assert any(name.startswith("Package_for_KB5000006~") for name in found.packages)


def test_an_excluded_update_is_left_alone_and_the_others_are_applied(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    chosen = [ready.import_update(practice.update(name)) for name in ("rollup", "small")]
    number = exclude(ready, "kb5000006")

    run = ready.service(image, *chosen)

    assert run["status"] == "Successful"
    assert [(one["article"], one["outcome"], one["code"]) for one in run["results"]] == [
        ("KB5000001", "applied", ""),
        ("KB5000006", "not-attempted", "excluded"),
    ]
    text = run["results"][1]["text"]
    assert text.startswith("KB5000006 is excluded for all images since 20")
    assert text.endswith(": breaks the till")
    assert run["results"][1]["findings"][0]["code"] == "excluded"

    ready.client.delete(f"/api/v1/servicing/exclusions/{number}").raise_for_status()
    again = ready.service(image, chosen[1])
    assert [one["outcome"] for one in again["results"]] == ["applied"]


def test_an_exclusion_may_be_for_one_image_only(ready: Api, practice: Practice) -> None:
    one = ready.add(practice.image(seed="one"), name="one")
    two = ready.add(practice.image(seed="two"), name="two")
    ready.import_update(practice.update("small"))

    exclude(ready, "KB5000006", one)

    assert likely(ready, one)["KB5000006"] == ("not-attempted", 0, "excluded")
    assert likely(ready, two)["KB5000006"] == ("applicable", 3, "")
    assert [row["image"] for row in ready.get("/servicing/exclusions", image=one)["items"]] == [one]
    assert ready.get("/servicing/exclusions", image=two)["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subject": "the bad one", "reason": "x"}, "invalid-input"),
        ({"subject": "KB5000006", "reason": "  "}, "invalid-input"),
        ({"subject": "KB5000006", "reason": "x", "image": "WIM99999"}, "not-found"),
    ],
)
def test_exclusions_that_say_nothing_are_refused(
    ready: Api, body: dict[str, str], code: str
) -> None:
    assert ready.refused("POST", "/servicing/exclusions", body)["code"] == code


def test_the_same_exclusion_twice_is_told(ready: Api) -> None:
    exclude(ready, "KB5000006")

    again = ready.refused("POST", "/servicing/exclusions", {"subject": "5000006", "reason": "x"})

    assert again["code"] == "already-exists"
    assert ready.refused("DELETE", "/servicing/exclusions/77")["code"] == "not-found"


def test_a_plan_shows_the_order_and_every_reason(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image(2))
    names = ("rollup", "rollup-v2", "missing-parent", "psfx")
    chosen = [ready.import_update(practice.update(name)) for name in names]

    found = ready.post("/servicing/plan", {"image": image, "updates": chosen})["items"]

    first = [(one["place"], one["update"], one["likely"]) for one in found if one["index"] == 1]
    second = [(one["place"], one["update"], one["likely"]) for one in found if one["index"] == 2]
    assert first == second
    verdicts = {update: word for _, update, word in first}
    assert [verdicts[number] for number in chosen] == [
        "superseded",
        "applicable",
        "prerequisite-missing",
        "not-supported",
    ]
    assert [update for _, update, _ in first].index(chosen[1]) < [
        update for _, update, _ in first
    ].index(chosen[0])
    (missing, *_) = (one for one in found if one["update"] == chosen[2])
    assert "Practice-Absent-Package" in missing["word"]
    assert [one["code"] for one in missing["findings"]] == ["parent"]
    assert ready.get(f"/images/{image}")["current_version"] == 1


def test_images_of_an_earlier_version_say_so_until_they_are_read_again(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(ready.copy(practice.image()))
    update_id = ready.import_update(practice.update("small"))
    with ready.site.database.write() as session:
        session.execute(delete(IndexSnapshot))

    assert likely(ready, image)["KB5000006"] == ("unknown", 4, "no-facts")
    (choice,) = ready.get(f"/images/{image}/choices")["items"]
    assert "reload" in choice["indexes"][0]["text"]

    reloaded = ready.job(f"/images/{image}/reload", {})
    assert reloaded["result"]["changed"] is False
    assert likely(ready, image)["KB5000006"] == ("applicable", 3, "")

    with ready.site.database.write() as session:
        session.execute(delete(IndexSnapshot))
    run = ready.service(image, update_id)
    assert run["status"] == "Successful"


def test_updates_of_an_earlier_version_say_so_until_they_are_imported_again(
    ready: Api, practice: Practice, tmp_path: Path
) -> None:
    image = ready.add(practice.image())
    file = practice.update("small")
    number = ready.import_update(file)
    with ready.site.database.write() as session:
        session.execute(update(UpdateDescriptionRow).values(format=0))

    assert likely(ready, image)["KB5000006"] == ("unknown", 4, "no-facts")

    assert ready.import_update(file) == number
    assert likely(ready, image)["KB5000006"] == ("applicable", 3, "")


def test_a_damaged_snapshot_is_named_and_promises_nothing(ready: Api, practice: Practice) -> None:
    image = ready.add(practice.image())
    ready.import_update(practice.update("small"))
    with ready.site.database.write() as session:
        session.execute(update(IndexSnapshot).values(data=b"rubbish"))

    (choice,) = ready.get(f"/images/{image}/choices")["items"]

    assert choice["indexes"][0]["likely"] == "unknown"
    assert "cannot be read" in choice["indexes"][0]["text"]


def test_a_damaged_description_spoils_nothing_but_its_own_line(
    ready: Api, practice: Practice
) -> None:
    image = ready.add(practice.image())
    damaged = ready.import_update(practice.update("small"))
    ready.import_update(practice.update("rollup"))
    with ready.site.database.write() as session:
        row = session.get_one(UpdateDescriptionRow, damaged)
        row.data = b"rubbish"

    found = likely(ready, image)

    assert found == {"KB5000006": ("unknown", 4, "no-facts"), "KB5000001": ("applicable", 3, "")}
