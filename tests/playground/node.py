"""Run JavaScript in Node, for comparison with the compiled loop."""

import json
import shutil
import subprocess

import pytest

START = """"use strict";
const fs = require("fs");
process.on("uncaughtException", (error) => { fs.writeFileSync(2, error.stack); process.exit(1); }); // without the source
const GIVEN = JSON.parse(fs.readFileSync(0, "utf8"));
const plain = (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value;
const print = (value) => fs.writeFileSync(1, JSON.stringify(value, plain));
"""


def node(folder, script, given):
    """Run a script and return what it passes to `print`, once; `given` is available as GIVEN. Skips without Node."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    file = folder / "script.js"
    file.write_text(START + script, encoding="utf-8")
    text = json.dumps(given, allow_nan=False)
    done = subprocess.run(["node", file], input=text, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[:2000]
    return json.loads(done.stdout)
