"""docs/formats.md says enough to read a data directory without minipachd: its program does so."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support import Engine
from tests.support_data import REPOSITORY


def test_the_program_in_the_docs_reads_what_minipachd_wrote(tmp_path: Path) -> None:
    files = {f"/folder/{number}.txt": b"%d" % number * 1000 for number in range(200)}
    files |= {"/empty": b"", "/large": bytes(range(256)) * 10_000}  # of three chunks
    with Engine(tmp_path) as engine:
        engine.client.create_repo("images")
        with engine.client.commit("images", "master") as commit:
            for path, content in files.items():
                engine.client.put_file_bytes(commit, path, content)
    program = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "formats.md").read_text(), re.DOTALL)
    assert program is not None
    arguments = [str(engine.root), "images", "master", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-I", "-c", program[1], *arguments], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = {f"/{path.relative_to(tmp_path / 'out')}": path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == files
