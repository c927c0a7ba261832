"""Stand-ins for the four stages: the same pipelines, inputs and output files, made by a shell in milliseconds."""

import json
from pathlib import Path

VALIDATE = r"""
for f in "$PFS_ROOT"/images/*; do n=$(basename "$f"); case $n in
*_[0-9]*.jpg|*_[0-9]*.png) mkdir -p "$PFS_ROOT/out/valid"; cp "$f" "$PFS_ROOT/out/valid/$n";;
*) mkdir -p "$PFS_ROOT/out/invalid"; cp "$f" "$PFS_ROOT/out/invalid/$n"
echo '{"schema": "tuskwatch.invalid/1", "name": "'$n'", "code": "bad-name", "message": "the name"}' \
> "$PFS_ROOT/out/invalid/$n.reason.json";;
esac; done
"""
DETECT = r"""
for f in "$PFS_ROOT"/validate/valid/*; do n=$(basename "$f" .jpg); d=${n%_*}; t=${n##*_}; t=${t%.png}; case $n in *.png) t=${t}_png;; esac
mkdir -p "$PFS_ROOT/out/$d"; cp "$f" "$PFS_ROOT/out/$d/$t.jpg"
echo '{"schema": "tuskwatch.detections/1", "device": "'$d'", "timestamp": '${t%_png}', "time": "", "source": "'$(basename "$f")'",
"objects": [{"class_id": 1, "label": "person", "score": 0.9, "box": {"left": 1, "top": 1, "right": 2, "bottom": 2}}]}' \
> "$PFS_ROOT/out/$d/$t.json"; done
"""
THREAT = r"""
cd "$PFS_ROOT"/object-detect; for f in */*.json; do mkdir -p "$PFS_ROOT/out/$(dirname $f)"
sed '1s/detections/threat/; $s/}$/, "alert": {"id": "", "status": "off", "reason": "no key"}}/' "$f" > "$PFS_ROOT/out/$f"; done
"""
PLOT = 'echo png > "$PFS_ROOT/out/threats.png"; echo "{}" > "$PFS_ROOT/out/threats.json"'


def pfs(repo: str, glob: str) -> dict[str, dict[str, str]]:
    return {"pfs": {"repo": repo, "glob": glob}}


SPECS = {
    "validate": ("validate", pfs("images", "/*"), VALIDATE),
    "object_detect": ("object-detect", {"cross": [pfs("validate", "/valid/*"), pfs("model", "/")]}, DETECT),
    "threat_detect": ("threat-detect", {"cross": [pfs("object-detect", "/*/*.json"), pfs("rules", "/")]}, THREAT),
    "plot": ("plot", pfs("threat-detect", "/"), PLOT),
}


def write_stages(folder: Path, *, hold: Path | None = None) -> Path:
    """A folder for the setting ``tuskwatch_stages``.

    :param hold: While this file is there, validate waits, and says so by making the file of this name with ``ed`` at its end.
    """
    for name, (pipeline, source, stdin) in SPECS.items():
        lines = [stdin]
        if hold and pipeline == "validate":
            lines.insert(0, f'if [ -e "{hold}" ]; then touch "{hold}ed"; fi; while [ -e "{hold}" ]; do sleep 0.1; done')
        spec = {"pipeline": {"name": pipeline}, "input": source, "transform": {"cmd": ["sh", "-e"], "stdin": lines}}
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline.json").write_text(json.dumps(spec))
    return folder


def write_images(landing: Path, day: str, *names: str) -> None:
    """Images of a day, below ``YYYY/MM/DD/``."""
    folder = landing / day.replace("-", "/")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
