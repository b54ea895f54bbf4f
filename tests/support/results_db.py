"""Small databases of results, without a network."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from itk_infer.classify.schema import DATABASE_NAME, SCHEMA, SCHEMA_VERSION

LABELS = (("needle", 0.5, None), ("pneumonia", 0.4, None))


class ResultsMaker:
    """Writes `results.db` row by row; close it before it is read."""

    def __init__(self, folder: Path, labels=LABELS, rule="max", members=("net",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / DATABASE_NAME
        self.db = sqlite3.connect(self.path)
        self.db.executescript(SCHEMA)
        self.db.execute("INSERT INTO about VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        names = json.dumps([{"name": name, "group": "", "sha256": "00"} for name in members])
        self.model("net", names, rule)
        self.db.executemany(
            "INSERT INTO labels VALUES (1, ?, ?, ?, ?)", [(index, *label) for index, label in enumerate(labels)]
        )
        self.run(1)

    def model(self, name: str, members: str = "[]", rule: str = "max") -> None:
        self.db.execute(
            "INSERT INTO models (sha256, spec_sha256, engine, name, kind, activation, study_rule, members) "
            "VALUES (?, '', '1', ?, 'onnx', 'sigmoid', ?, ?)",
            (name, name, rule, members),
        )

    def run(self, model: int) -> None:
        self.db.execute(
            "INSERT INTO runs (run, started, version, model, input, settings, images, seconds) "
            "VALUES ((SELECT count(*) FROM runs), '2026', '1', ?, '/in', '{}', 20, 4.0)",
            (model,),
        )

    def file(
        self, path: str, study=None, *, state="done", reason=None, series=None, sop=None, patient=None, frames=1
    ):
        folder = path.rpartition("/")[0]
        row = (path, folder, state, reason, study, series, sop, patient, frames)
        return self.db.execute(
            "INSERT INTO files (path, folder, size, mtime_ns, inode, state, reason, model, study, series, sop, patient, "
            "frames) VALUES (?, ?, 1, 1, 1, ?, ?, 1, ?, ?, ?, ?, ?)",
            row,
        ).lastrowid

    def image(
        self, file: int, probabilities=(), *, frame=0, state="counted", position=None, stds=None, sop=None, model=1
    ) -> int:
        study, series, known = self.db.execute(
            "SELECT study, series, sop FROM files WHERE id = ?", (file,)
        ).fetchone()
        image = self.db.execute(
            "INSERT INTO images (file, frame, study, series, sop, position, pixels_sha256, state) "
            "VALUES (?, ?, ?, ?, ?, ?, '', ?)",
            (file, frame, study, series, sop or known or f"sha256:{file}", position, state),
        ).lastrowid
        for label, value in enumerate(probabilities):
            std = None if stds is None else stds[label]
            row = (image, model, label, value, None, std)
            self.db.execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?)", row)
        return image

    def one(self, path: str, study: str, probabilities, **more) -> int:
        """A file with one image."""
        keys = ("series", "sop", "patient")
        file = self.file(path, study, **{key: more.pop(key) for key in keys if key in more})
        return self.image(file, probabilities, **more)

    def close(self) -> Path:
        self.db.commit()
        self.db.close()
        return self.path
