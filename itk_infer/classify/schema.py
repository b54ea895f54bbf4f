"""The tables of `results.db`, the primary record of `itk_infer classify`; all other tables are derived from it.

One row of `model` is what a run computes with: a network, or an ensemble with its members. Predictions of other
models from earlier runs in the same folder are kept; `CURRENT_MODEL` selects those that the tables show.
"""

from typing import Final

__all__ = ["CURRENT_MODEL", "DATABASE_NAME", "SCHEMA", "SCHEMA_VERSION"]

DATABASE_NAME: Final = "results.db"
SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;  -- 'schema': SCHEMA_VERSION

-- One row per start of the command.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,           -- identifier, that of the events
    started TEXT NOT NULL,              -- ISO 8601, UTC
    ended TEXT,                         -- NULL: running, or killed
    version TEXT NOT NULL,              -- of itk_infer
    model INTEGER NOT NULL REFERENCES models(id),
    input TEXT NOT NULL,                -- absolute path of the folder or file; files.path is relative to it
    settings TEXT NOT NULL,             -- JSON: options of the command
    images INTEGER,                     -- images predicted in this run
    seconds REAL,                       -- wall time
    exit_code INTEGER
);

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL,               -- of the weights; of an ensemble: of its members' digests and groups
    spec_sha256 TEXT NOT NULL,          -- of the rest that decides: spec without thresholds, precision
    engine TEXT NOT NULL,               -- version of the computation: results of another one are recomputed
    name TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- onnx, torch, ensemble
    activation TEXT NOT NULL,           -- sigmoid, softmax, none
    study_rule TEXT NOT NULL,           -- of the spec: max, mean, top3_mean, noisy_or, ...
    members TEXT NOT NULL,              -- JSON list of {"name", "group", "sha256"}; one for a single network
    UNIQUE (sha256, spec_sha256, engine)
);

-- Labels in the order of the spec; label counts from 0.
CREATE TABLE labels (
    model INTEGER NOT NULL REFERENCES models(id),
    label INTEGER NOT NULL,
    name TEXT NOT NULL,
    threshold REAL NOT NULL,            -- positive from here on (>=), in the last run of the model
    parent TEXT,                        -- name of the label that this one is a case of ('any'), or NULL
    PRIMARY KEY (model, label)
) WITHOUT ROWID;

-- One row per file that was found; none is left out.
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,          -- relative to the input, with '/'
    folder TEXT NOT NULL,               -- its folder, relative, with '/'; '' for the input itself
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    sha256 TEXT,                        -- of the content; NULL where it was not read
    state TEXT NOT NULL,                -- waiting | done | failed | skipped
    reason TEXT,                        -- why it failed or was skipped
    note TEXT,                          -- a warning about a file that is done
    model INTEGER REFERENCES models(id),  -- the model whose run gave it this state
    study TEXT,                         -- StudyInstanceUID, or 'folder:<folder>'; also of failed files
    series TEXT,                        -- SeriesInstanceUID, or NULL
    sop TEXT,                           -- SOPInstanceUID, or NULL
    patient TEXT,                       -- PatientID, or NULL
    frames INTEGER,                     -- number of pictures in it
    transfer_syntax TEXT,
    photometric TEXT
);
CREATE INDEX files_folder ON files (folder);
CREATE INDEX files_waiting ON files (id) WHERE state = 'waiting';

-- One row per picture: a DICOM frame, a photo, a slice of a volume. Those of a file that is not 'done' are of an
-- earlier content of it, or of an earlier model, and count only once it is done again.
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    frame INTEGER NOT NULL,             -- from 0; of a volume: its slice along Z
    study TEXT NOT NULL,                -- as in files
    series TEXT,
    sop TEXT NOT NULL,                  -- SOPInstanceUID; where there is none, 'sha256:<content>'
    position REAL,                      -- along the normal of the slices, mm; NULL where unknown
    pixels_sha256 TEXT NOT NULL,        -- of the decoded values; '' unless compared with another image's
    state TEXT NOT NULL,                -- counted | copy (equal pixels) | conflict (equal sop and frame only)
    same_as INTEGER REFERENCES images(id),  -- of a copy or conflict: the image that is counted
    UNIQUE (file, frame)
);
CREATE INDEX images_identity ON images (sop, frame);

CREATE TABLE predictions (
    image INTEGER NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models(id),
    label INTEGER NOT NULL,
    probability REAL NOT NULL,          -- of an ensemble: mean over the members of each group, then over groups
    logit REAL,                         -- NULL for ensembles and for networks that answer in probabilities
    std REAL,                           -- population deviation of the probability over all members; NULL for one
    PRIMARY KEY (image, model, label)
) WITHOUT ROWID;

-- Probabilities of each member of an ensemble, where these are asked for.
CREATE TABLE member_predictions (
    image INTEGER NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models(id),
    member INTEGER NOT NULL,            -- place in models.members
    label INTEGER NOT NULL,
    probability REAL NOT NULL,
    PRIMARY KEY (image, model, member, label)
) WITHOUT ROWID;
"""

CURRENT_MODEL: Final = "SELECT model FROM runs ORDER BY id DESC LIMIT 1"
"""Tables show the predictions of this model for images in the state 'counted' of files in the state 'done'."""
