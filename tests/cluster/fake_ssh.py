"""An ssh client that runs the command here. Where FAKE_SSH, a folder, is named, it becomes the host's own folder.

With FAKE_SSH_SHARED all hosts see that folder itself. Hosts in FAKE_SSH_DOWN cannot be reached. Like the real one, it
hands the remote command to a shell, and what it reads from standard input to the command.
"""

import os
import subprocess
import sys

*options, host, command = sys.argv[1:]
assert options == ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "--"], options
if host in os.environ.get("FAKE_SSH_DOWN", "").split(","):
    sys.exit(f"ssh: connect to host {host} port 22: Connection refused")
shared, own = os.environ["FAKE_SSH"], f"{os.environ['FAKE_SSH']}-{host}"
if "FAKE_SSH_SHARED" in os.environ:
    own = shared
text = sys.stdin.read().replace(shared, own)
sys.exit(subprocess.run(["sh", "-c", command.replace(shared, own)], input=text, text=True, check=False).returncode)
