import subprocess
import sys


def test_every_name_the_package_offers_is_the_thing_and_not_its_module():
    code = (
        "import sys, analysis; light = {'numpy', 'pandas', 'scipy'} & set(sys.modules); from types import ModuleType;"
        "bad = [name for name in analysis.__all__ if isinstance(getattr(analysis, name), ModuleType)];"
        "bad += [name for name in analysis.__all__ if isinstance(getattr(analysis, name), ModuleType)];"
        "print(light, bad)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() []"
