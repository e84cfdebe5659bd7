"""`onegen` in forks of one process that has imported torch and all: a document that calls it often pays for that once.

python -m tests.warm SOCKET            serve; one call at a time, each in a fork with the caller's files and folder
python -S tests/warm.py SOCKET ...     call: run `onegen ...` there, leave with its exit code
"""

import json
import os
import socket
import sys
import traceback


def serve(path: str) -> None:
    """Answer calls until this process is killed."""
    import onegen.sampler.pipeline_onediffusion  # noqa: F401
    from onegen.cli.app import main

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                message, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
                child = os.fork()
                if child == 0:
                    answer(main, json.loads(message), files)
                for file in files:
                    os.close(file)  # else whoever reads what the caller prints would wait for this process too
                _, status = os.waitpid(child, 0)
                connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))


def answer(main, call, files):
    """Run one call in this process, which ends with it and its exit code."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(call["folder"])
    sys.argv = ["onegen", *call["arguments"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def call(path: str, arguments: list[str]) -> int:
    """Hand a call over and return its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        message = json.dumps({"folder": os.getcwd(), "arguments": arguments}).encode()
        socket.send_fds(connection, [message], [0, 1, 2])
        return connection.recv(1)[0]


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    sys.exit(call(sys.argv[1], sys.argv[2:]))
