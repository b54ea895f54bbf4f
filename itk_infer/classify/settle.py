"""Steps that need the whole archive: marking copies and conflicts, and finding the studies of unreadable files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

SAME_IDENTITY = """
SELECT i.sop, i.frame FROM images i JOIN files f ON f.id = i.file WHERE f.state = 'done'
GROUP BY i.sop, i.frame HAVING count(*) > 1
"""
CANDIDATES = """
SELECT i.id, f.path, f.sha256, i.pixels_sha256 FROM images i JOIN files f ON f.id = i.file
LEFT JOIN temp.folder_sizes s ON s.study = i.study AND s.folder = f.folder
WHERE i.sop = ? AND i.frame = ? AND f.state = 'done' ORDER BY s.size DESC, f.path
"""
FOLDER_SIZES = """
CREATE TEMP TABLE folder_sizes AS
SELECT i.study AS study, f.folder AS folder, count(*) AS size FROM images i JOIN files f ON f.id = i.file
WHERE f.state = 'done' GROUP BY i.study, f.folder;
CREATE INDEX temp.by_folder ON folder_sizes (study, folder);
"""
STUDIES_OF_FAILED = """
UPDATE files SET study = (
    SELECT min(other.study) FROM files other
    WHERE other.folder = files.folder AND other.study NOT LIKE 'folder:%'
) WHERE state = 'failed' AND study LIKE 'folder:%' AND (
    SELECT count(DISTINCT other.study) FROM files other
    WHERE other.folder = files.folder AND other.study NOT LIKE 'folder:%'
) = 1
"""


def settle(db: sqlite3.Connection, pixels: Callable[[str, str, int], str]) -> tuple[int, int]:
    """Mark copies and conflicts, in an open transaction; the result does not depend on the order of reading.

    Of images with equal UID and frame, the one in the folder with the most images of the study is counted; of
    several, the first by path. A failed file without a study is assigned to the study of its folder, if there is
    exactly one. Pixels that cannot be compared any more are a conflict, unless the files are equal.

    Args:
        db: The database.
        pixels: As `PixelDigests`.

    Returns:
        Numbers of copies and conflicts.
    """
    groups = db.execute(SAME_IDENTITY).fetchall()
    marks = []
    if groups:
        db.execute("DROP TABLE IF EXISTS temp.folder_sizes")
        for statement in filter(str.strip, FOLDER_SIZES.split(";")):
            db.execute(statement)
    for sop, frame in groups:
        images = db.execute(CANDIDATES, (sop, frame)).fetchall()
        first, _, content, _ = images[0]
        digests = {}
        if any(image[2] != content for image in images):
            digests = {image: known or pixels(path, sha256, frame) for image, path, sha256, known in images}
            db.executemany(
                "UPDATE images SET pixels_sha256 = ? WHERE id = ?", [(d, i) for i, d in digests.items()]
            )
        for image, _, sha256, _ in images[1:]:
            same = sha256 == content or digests[image] == digests[first] != ""
            marks.append(("copy" if same else "conflict", first, image))
    db.execute("UPDATE images SET state = 'counted', same_as = NULL WHERE state != 'counted'")
    db.executemany("UPDATE images SET state = ?, same_as = ? WHERE id = ?", marks)
    db.execute(STUDIES_OF_FAILED)
    conflicts = sum(state == "conflict" for state, _, _ in marks)
    return len(marks) - conflicts, conflicts
