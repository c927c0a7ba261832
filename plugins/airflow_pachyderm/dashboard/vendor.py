"""Refresh the page's vendored libraries from npm: ``python plugins/airflow_pachyderm/dashboard/vendor.py``.

Needs npm, and is run by whoever changes a version below; users need neither npm nor a network. ``npm pack`` checks each archive against the
registry's digest; the archives' own minified files and licences are copied as they are.
"""

import logging
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

VENDOR: Final = Path(__file__).parent / "static" / "vendor"
PACKAGES: Final = {
    "@dagrejs/dagre@3.1.3": {"package/dist/dagre.esm.js": "dagre.js", "package/LICENSE": "dagre.LICENSE.txt"},
    "chart.js@4.6.1": {"package/dist/chart.umd.min.js": "chart.js", "package/LICENSE.md": "chart.LICENSE.txt"},
}


def main() -> None:
    """Download the packages and replace the vendored files."""
    for package, wanted in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            packed = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True)
            with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as archive:
                for member, name in wanted.items():
                    _copy(archive, member, VENDOR / name)


def _copy(archive: tarfile.TarFile, member: str, target: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise FileNotFoundError(f"{member} is no file of the package; correct PACKAGES")
    lines = source.read().decode().splitlines()
    # The maps are not shipped, and a browser's tools would look for them.
    target.write_text("\n".join(line for line in lines if not line.startswith("//# sourceMappingURL=")) + "\n", encoding="utf-8")
    log.info("%s: %d bytes", target.name, target.stat().st_size)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    main()
