"""python -m data.audit: the program scripts/audit_data.py."""

import runpy

runpy.run_module("scripts.audit_data", run_name="__main__")
