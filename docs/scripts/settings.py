"""Tables of settings: every setting of a configuration class with its key, flag, defaults and help, as Markdown."""

from tinynas.experiment import config, exit_plan, front_settings, plans, search_settings, tune_settings
from tinynas.utils.settings import SettingRow, rows

HEADER = "| `config.yaml` | flag | default | what it does |\n|---|---|---|---|"
HEADER_WITHOUT_FILE = "| flag | default | what it does |\n|---|---|---|"


_OF_FILES = (config, search_settings)
_WITHOUT_FILE = (plans, exit_plan, front_settings, tune_settings)


def table(class_name: str) -> str:
    """Return the table of a class of settings, or of the settings of a plan, which no file has."""
    for module in _WITHOUT_FILE:
        if class_name in vars(module) and vars(module)[class_name].__module__ == module.__name__:
            return "\n".join([HEADER_WITHOUT_FILE, *map(row, rows(vars(module)[class_name]))])
    (of_files,) = {vars(module)[class_name] for module in _OF_FILES if class_name in vars(module)}
    lines = [HEADER]
    for setting in rows(of_files):
        lines.append(f"| `{setting.key}` {row(setting)}")
    return "\n".join(lines)


def row(setting: SettingRow) -> str:
    """Return the row of a setting, without its key."""
    return f"| {flag(setting)} | {defaults(setting)} | {setting.help} |"


def flag(setting: SettingRow) -> str:
    """Return the flag that changes a setting's default, as code; empty if it has none."""
    if not setting.flag:
        return ""
    switched_off = setting.setting.type is bool and setting.default == "on"
    return f"`{setting.flag.replace('--', '--no-')}`" if switched_off else f"`{setting.flag}`"


def defaults(setting: SettingRow) -> str:
    """Return a setting's default with its unit, and the defaults of other cases."""
    parts = [with_unit(setting.default, setting.unit)] if setting.default else []
    for case, value in setting.variants.items():
        parts.append(f"{case}: {with_unit(value, setting.unit)}")
    return "; ".join(parts)


def with_unit(value: str, unit: str) -> str:
    """Return a number with its unit; other values as they are."""
    return f"{value} {unit}" if unit and value[0].isdigit() else value
