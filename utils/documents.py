"""YAML and JSON files that users write."""

import json
from pathlib import Path

import yaml

from utils.errors import UserError, one_line


class _Loader(yaml.SafeLoader):
    """PyYAML's, but a name that stands twice in a mapping is an error: the last one would win without a word."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, names = super().compose_mapping_node(anchor), set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"):
            if (key.tag, key.value) in names:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            names.add((key.tag, key.value))
        return node


def read_document(path: str | Path, kind: str) -> object:
    """The content of a YAML file, or of a JSON file where its name ends so; UTF-8.

    kind: what the file is called in messages. Raises UserError.
    """
    is_json = str(path).lower().endswith(".json")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return parse_json(text) if is_json else yaml.load(text, _Loader)
    except OSError as error:
        raise UserError(f"cannot read the {kind} {path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        reason = f"line {error.problem_mark.line + 1}: {error.problem}"
    except (LookupError, AttributeError):  # PyYAML's own, on a value such as !!int ''
        reason = "a value does not go with its tag"
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = one_line(error)
    raise UserError(f"the {kind} {path} is not valid {'JSON' if is_json else 'YAML'}: {reason}")


def parse_json(text: str | bytes) -> object:
    """Raises ValueError, also where a name stands twice in an object, and RecursionError."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    for name, value in pairs if len(content) < len(pairs) else ():
        if content[name] != value:
            raise ValueError(f"{name} stands twice in an object, with the values {repr(value)[:40]} and others")
    return content
