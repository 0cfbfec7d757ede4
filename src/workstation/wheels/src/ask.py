# Runs pip with the environment markers of another machine: pip takes tags of platforms by option, but evaluates markers such as
# `platform_machine == "aarch64"` for the machine that it runs on. pip's report says which markers counted; the caller compares.
import json
import sys

try:
    import pip._vendor.packaging.markers as markers
except ImportError:
    sys.exit("there is no pip")

own = markers.default_environment
wanted = json.loads(sys.argv[1])
markers.default_environment = lambda: {**own(), **wanted}

from pip._internal.cli.main import main

sys.exit(main(sys.argv[2:]))
