"""Holds answers of /api/v1 against what openapi.json says of them. Stricter than JSON Schema: a key that is answered but not described is a
mistake, unless the shape says additionalProperties."""
import json, re

KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
KNOWN = {"$ref", "description", "type", "enum", "const", "anyOf", "oneOf", "allOf", "required", "properties", "additionalProperties", "items", "pattern", "minimum",
         "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "default"}


def is_kind(value, kind):
    return isinstance(value, KINDS[kind]) and (kind in ("boolean",) or not isinstance(value, bool))


class Shapes:
    def __init__(self, api):
        self.schemas = api["components"]["schemas"]
        self.routes = []  # literal segments first, as the router does
        for path, operations in api["paths"].items():
            if path.startswith("/api/v1/"):
                pattern = re.sub(r"\\\{path\\\}$", ".+", re.escape(path[len("/api/v1"):]))
                self.routes.append((re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)), path, operations))
        self.routes.sort(key=lambda row: (len(row[1].split("{")), row[1].endswith("{path}")))

    def find(self, method, target):
        """The path of the description, and its operation; None when there is none."""
        path = target.split("?")[0][len("/api/v1"):]
        for pattern, name, operations in self.routes:
            if pattern.fullmatch(path) and ("get" if method == "HEAD" else method.lower()) in operations:
                return name, operations["get" if method == "HEAD" else method.lower()]
        return None

    def full(self, schema):
        return self.schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def keys(self, schema):
        """All that an object may have; None: anything."""
        schema = self.full(schema)
        if "additionalProperties" in schema:
            return None
        found = set(schema.get("properties", ()))
        for part in schema.get("allOf", ()):
            more = self.keys(part)
            if more is None:
                return None
            found |= more
        return found

    def mistakes(self, schema, value, at="", strict=True):
        schema = self.full(schema)
        if schema.keys() - KNOWN:
            return [f"{at}: the test does not know {sorted(schema.keys() - KNOWN)}"]
        found = []
        kinds = schema.get("type", list(KINDS))
        if not any(is_kind(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
            return [f"{at}: {value!r:.80} is no {kinds}"]
        if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
            found.append(f"{at}: {value!r:.80} is none of {schema.get('enum', schema.get('const'))}")
        if is_kind(value, "string") and not re.search(schema.get("pattern", ""), value):
            found.append(f"{at}: {value!r:.80} is not like {schema['pattern']}")
        if is_kind(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            found.append(f"{at}: {value} is out of range")
        choices, has_keys = schema.get("anyOf", schema.get("oneOf", ())), "properties" in schema
        if choices:
            tries = [self.mistakes(part, value, at, strict=not has_keys) for part in choices]
            found += min(tries, key=len) if all(tries) else []
        for part in schema.get("allOf", ()):
            found += self.mistakes(part, value, at, strict=False)
        if isinstance(value, list) and "items" in schema:
            found += [mistake for i, item in enumerate(value) for mistake in self.mistakes(schema["items"], item, f"{at}/{i}")]
        if isinstance(value, dict) and (has_keys or not choices):
            found += self.mistakes_of_keys(schema, value, at, strict)
        return found

    def mistakes_of_keys(self, schema, value, at, strict):
        known, rest = self.keys(schema), schema.get("additionalProperties")
        found = [f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            if key in schema.get("properties", ()):
                found += self.mistakes(schema["properties"][key], item, f"{at}/{key}")
            elif isinstance(rest, dict):
                found += self.mistakes(rest, item, f"{at}/{key}")
            elif rest is False or strict and known is not None and key not in known:
                found.append(f"{at}: {key} is not described")
        return found

    def check_body(self, method, target, body):
        """What is wrong with a body that was taken, as a text."""
        name, operation = self.find(method, target)
        kinds = operation.get("requestBody", {}).get("content", {})
        wrong = self.mistakes(kinds["application/json"]["schema"], body) if "application/json" in kinds else []
        return f"{method} {name} takes what is described otherwise: " + "; ".join(wrong[:10]) if wrong else ""

    def check(self, method, target, answer):
        """What is wrong with an answer of /api/v1, as a text."""
        found = self.find(method, target)
        if not found or answer.status == 304:
            return "" if answer.status >= 400 or method == "OPTIONS" else f"{method} {target} is not described"
        name, operation = found
        status = str(answer.status) if str(answer.status) in operation["responses"] else "2XX" if answer.status < 300 else "default"
        declared = operation["responses"].get(status, {"content": {}}).get("content", {})
        kind = (answer.headers.get("Content-Type") or "").split(";")[0]
        if "application/octet-stream" in declared and answer.status < 400:
            return ""  # a file may be of any type
        if kind not in declared:
            return "" if not kind and not declared else f"{method} {name} answers {answer.status} with {kind or 'nothing'}, described is {list(declared) or 'nothing'}"
        if not kind.endswith("json") or method == "HEAD":
            return ""
        lines = answer.body.splitlines() if kind.endswith("ndjson") else [answer.body]
        schema = declared[kind]["schema"]
        wrong = [mistake for line in lines for mistake in self.mistakes(schema, json.loads(line))] if schema else []
        return f"{method} {name} answers otherwise than described: " + "; ".join(wrong[:10]) if wrong else ""
