"""Steps that need the whole archive: marking copies and conflicts, and finding the studies of unreadable files."""

from __future__ import annotations

import sqlite3

SAME_IDENTITY = """
SELECT i.sop, i.frame FROM images i JOIN files f ON f.id = i.file WHERE f.state = 'done'
GROUP BY i.sop, i.frame HAVING count(*) > 1
"""
CANDIDATES = """
SELECT i.id, i.pixels_sha256 FROM images i JOIN files f ON f.id = i.file
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


def settle(db: sqlite3.Connection) -> tuple[int, int]:
    """Mark copies and conflicts, in an open transaction; the result does not depend on the order of reading.

    Of images with equal UID and frame, the one in the folder with the most images of the study is counted; of
    several, the first by path. A failed file without a study is assigned to the study of its folder, if there is
    exactly one.

    Returns:
        Numbers of copies and conflicts.
    """
    db.execute("UPDATE images SET state = 'counted', same_as = NULL WHERE state != 'counted'")
    groups = db.execute(SAME_IDENTITY).fetchall()
    marks = []
    if groups:
        db.execute("DROP TABLE IF EXISTS temp.folder_sizes")
        for statement in filter(str.strip, FOLDER_SIZES.split(";")):
            db.execute(statement)
    for sop, frame in groups:
        (first, pixels), *others = db.execute(CANDIDATES, (sop, frame)).fetchall()
        marks += [("copy" if other == pixels else "conflict", first, image) for image, other in others]
    db.executemany("UPDATE images SET state = ?, same_as = ? WHERE id = ?", marks)
    db.execute(STUDIES_OF_FAILED)
    conflicts = sum(state == "conflict" for state, _, _ in marks)
    return len(marks) - conflicts, conflicts
