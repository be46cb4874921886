"""The tables of docs/sweep-file.md, as they must be: keys, types, defaults and reasons are the schema's; the examples are the document's own."""
import json, re

TABLE = re.compile(r"<!-- keys of (\w+) -->\n(.*?)<!-- end -->\n", re.S)
IGNORED = "nothing"  # the table of what is accepted and not used
PATTERNS = {"(ms|s|sec": "duration", "([KMGT": "size"}


def text_of(value):
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def bounds(schema):
    low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    number = lambda value: f"{value:,.15g}"
    begin = f"above {number(above)}" if above is not None else number(low or 0)
    if high is not None and high < 1e15:
        return f", {begin} to {number(high)}"
    return f", {begin}" if above is not None else f", from {begin}" if low is not None else ""


def words(schema):
    return " ".join(f"`{word}`" for word in schema["enum"])


def type_of(schema):
    """In a few words."""
    if "enum" in schema:
        return words(schema)
    for part, name in PATTERNS.items():
        if part in schema.get("pattern", ""):
            return name
    if "anyOf" in schema:
        item = schema["anyOf"][-1]["items"]
        many = "object" if "properties" in item or "anyOf" in item else words(item) if "enum" in item else "text"
        return f"list: {many}" if len(schema["anyOf"]) == 1 else f"{many}, or a list"
    kind = schema.get("type")
    if kind == "object":
        return "map of texts"
    if kind == "boolean":
        return "`true` `false`"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + bounds(schema)
    if kind:
        return "text"
    return "object" if "allOf" in schema else "see below"


def object_of(schema):
    """The properties of a key that is an object, or a list of them; {} when it is neither."""
    for part in schema.get("allOf", []) + schema.get("anyOf", []):
        if "properties" in part:
            return part
        found = object_of(part) or object_of(part.get("items", {}))
        if found:
            return found
    return schema if "properties" in schema else {}


def other_names(properties):
    """{key: [its other names]}"""
    names = {}
    for name, schema in properties.items():
        if "title" in schema:
            names.setdefault(schema["title"].removeprefix("another name of "), []).append(name)
    return names


def rules_of(owner, key):
    """The stop rules that a key is for; None: all."""
    parts = owner.get("allOf", [])
    kinds = [p["if"]["properties"]["type"]["const"] for p in parts if key not in p["then"]["properties"]]
    return None if len(kinds) >= len(parts) - 1 else kinds


def tables(schema):
    """{name: {key: (cells but the example's)}}"""
    found = {"sweep": schema}
    found.update({key: object_of(s) for key, s in schema["properties"].items() if "title" not in s and object_of(s)})
    made = {IGNORED: {}}
    for name, owner in found.items():
        others, rows = other_names(owner["properties"]), {}
        for key, s in owner["properties"].items():
            if "title" in s:
                continue
            if s.get("deprecated"):
                made[IGNORED][key] = (f"`{key}`", s["description"])
                continue
            shown = f"`{key}`" + "".join(f" or `{other}`" for other in others.get(key, []))
            default = "required" if key in owner.get("required", []) else text_of(s.get("default"))
            why, kind = s["description"], type_of(s)
            if key in found and name == "sweep":
                kind = kind.replace("object", f"[object](#{key})")
            rules = rules_of(owner, key)
            if rules:
                why += "; for " + " ".join(f"`{rule}`" for rule in rules)
            rows[key] = (shown, kind, default, why.replace("|", "\\|"))
        made[name] = rows
    return made


def read(document):
    """{table: {key: example}}"""
    found = {}
    for name, body in TABLE.findall(document):
        rows = [line.strip("|\n").split(" | ") for line in body.splitlines()[2:] if line.startswith("| ")]
        found[name] = {re.search(r"`([^`]+)`", row[0])[1]: row[3].strip().strip("`") if name != IGNORED else "" for row in rows}
    return found


def write(document, schema):
    made, examples = tables(schema), read(document)

    def table(match):
        name = match[1]
        if name == IGNORED:
            lines = ["| key | why |", "| --- | --- |"] + [f"| {shown} | {why} |" for shown, why in made[name].values()]
        else:
            lines = ["| key | type | default | example | what it is |", "| --- | --- | --- | --- | --- |"]
            for key, (shown, kind, default, why) in made[name].items():
                example = examples.get(name, {}).get(key, "")
                lines.append(f"| {shown} | {kind} | {default} | {'`' + example + '`' if example else ''} | {why} |")
        return f"<!-- keys of {name} -->\n" + "\n".join(lines) + "\n<!-- end -->\n"

    return TABLE.sub(table, document)


def write_not_yet(document, keys):
    """`keys`: what the service does not heed yet, and what it says of it."""
    lines = [f"- `{key}`: {why}" for key, why in sorted(keys.items())] or ["Nothing: every key does what it says."]
    return re.sub(r"(?<=<!-- not yet -->\n).*?(?=<!-- end -->)", lambda _: "\n".join(lines) + "\n", document, flags=re.S)
