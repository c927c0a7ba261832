"""The four pipelines' shape without their models: shell and Python scripts that leave files laid out as the stages leave theirs."""

import io
import random
from typing import Final

from PIL import Image, ImageDraw

from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm

_VALIDATE: Final = "mkdir -p $PFS_ROOT/out/valid; for f in $PFS_ROOT/images/*.jpg; do cp $f $PFS_ROOT/out/valid/; done"
_DETECT: Final = """
for f in $PFS_ROOT/validate/valid/*.jpg; do
  n=$(basename $f .jpg); d=${n%_*}; t=${n#*_}; mkdir -p $PFS_ROOT/out/$d; cp $f $PFS_ROOT/out/$d/$t.jpg
  cat > $PFS_ROOT/out/$d/$t.json <<END
{"schema": "tuskwatch.detections/1", "device": "$d", "timestamp": $t, "time": "", "source": "$n.jpg", "objects": []}
END
  echo "$n: 2 objects"
done
"""
_THREAT: Final = """
for f in $PFS_ROOT/object-detect/*/*.json; do
  d=$(basename $(dirname $f)); t=$(basename $f .json); mkdir -p $PFS_ROOT/out/$d
  case $t in *[02468]) l=person;; *) l=car;; esac
  found='{"class_id": 1, "label": "'$l'", "score": 0.87, "box": {"left": 1, "top": 1, "right": 9, "bottom": 9}}'
  alert='{"id": "", "status": "off", "reason": "no key"}'
  sed "s/detections/threat/; s/\\[]}/[$found], \\"alert\\": $alert}/" $f > $PFS_ROOT/out/$d/$t.json
done
"""


def make_pipelines(pachyderm: Pachyderm, *, detect: str = _DETECT) -> None:
    """Create repos and pipelines."""
    for repo in ("images", "model", "rules"):
        pachyderm.pfs.create_repo(repo, description=f"Input: {repo}")
    pachyderm.commit("model", {"/frozen_inference_graph.pb": b"\x00" * 1000})
    pachyderm.commit("rules", {"/rule.json": b'{"threat_classes": [1, 3]}'})
    pachyderm.pipeline(
        "validate", description="Names and bytes of images", transform=_script(_VALIDATE), input={"pfs": {"repo": "images", "glob": "/*"}}
    )
    pachyderm.pipeline(
        "object-detect",
        transform=_script(detect) | {"env": {"DETECT_THRESHOLD": "0.5", "API_KEY": "very-secret"}},
        input={"cross": [{"pfs": {"repo": "validate", "glob": "/valid/*"}}, {"pfs": {"repo": "model", "glob": "/"}}]},
    )
    pachyderm.pipeline(
        "threat-detect",
        transform=_script(_THREAT),
        input={"cross": [{"pfs": {"repo": "object-detect", "glob": "/*/*.json"}}, {"pfs": {"repo": "rules", "glob": "/"}}]},
    )


def _script(text: str) -> dict[str, object]:
    return {"cmd": ["sh"], "stdin": text.splitlines()}


def frame(seed: int, *, size: tuple[int, int] = (640, 480)) -> bytes:
    """A picture that differs with the seed, as JPEG."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, (90 + rng.randrange(60), 120, 140))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, size[1] * 0.6, *size), fill=(110, 105, 95))
    for _ in range(3):
        x, y = rng.randrange(size[0] - 120), size[1] * 0.45 + rng.randrange(80)
        draw.rectangle((x, y, x + 90, y + 60), fill=tuple(rng.randrange(255) for _ in range(3)), outline="red", width=3)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
