// Controls for what is a model's own: its qualities, and its parameters as their JSON schema describes them. A control
// left alone says nothing. Then the model's own value holds, which also depends on the quality.

export function showParameters(place, model) {
  place.replaceChildren();
  const { $defs: definitions = {}, properties = {} } = model?.parameters ?? {};
  const qualities = model?.qualities ?? [];
  if (qualities.length) {
    place.append(field("quality", { enum: qualities, default: qualities[0], description: "a set of values for the others" }));
  }
  for (const [name, entry] of Object.entries(properties)) place.append(field(name, ruleOf(entry, definitions)));
}

// What differs from the model's own values, as fields of a request.
export function chosenParameters(place) {
  const set = [...place.querySelectorAll("select, input")].filter((control) => control.value !== "");
  return Object.fromEntries(set.map((control) => [control.name, valueOf(control)]));
}

// What a value may be; of alternatives the first that is not null.
function ruleOf(entry, definitions) {
  const kind = entry.anyOf?.find((each) => each.type !== "null") ?? entry;
  const named = kind.$ref ? definitions[kind.$ref.split("/").pop()] : {};
  const rule = { ...kind, ...named, default: entry.default, description: entry.description };
  return "const" in rule ? { ...rule, enum: [rule.const] } : rule;
}

function field(name, rule) {
  const control = rule.enum || rule.type === "boolean" ? choice(rule) : input(rule);
  const label = document.createElement("label");
  const hint = document.createElement("p");
  control.name = name;
  control.id = label.htmlFor = `parameter-${name}`;
  label.textContent = name.replaceAll("_", " ");
  hint.id = `${control.id}-hint`;
  hint.className = "hint";
  hint.textContent = [rule.description, range(rule)].filter(Boolean).join("; ");
  control.setAttribute("aria-describedby", hint.id);
  const group = document.createElement("div");
  group.append(label, control, hint);
  return group;
}

function choice(rule) {
  const select = document.createElement("select");
  select.append(new Option(`default (${shown(rule.default)})`, ""));
  for (const value of rule.enum ?? [true, false]) select.append(new Option(shown(value), JSON.stringify(value)));
  return select;
}

function input(rule) {
  const box = document.createElement("input");
  if (rule.type === "integer" || rule.type === "number") {
    box.type = "number";
    box.step = rule.type === "integer" ? 1 : "any";
    box.min = rule.minimum ?? rule.exclusiveMinimum ?? "";
    box.max = rule.maximum ?? rule.exclusiveMaximum ?? "";
  }
  box.placeholder = `default (${shown(rule.default)})`;
  return box;
}

function valueOf(control) {
  if (control.tagName === "SELECT") return JSON.parse(control.value);
  return control.type === "number" ? Number(control.value) : control.value;
}

function shown(value) {
  if (value === true || value === false) return value ? "yes" : "no";
  return value === null || value === undefined ? "none" : String(value);
}

function range(rule) {
  const least = rule.minimum ?? rule.exclusiveMinimum;
  const most = rule.maximum ?? rule.exclusiveMaximum;
  if (least !== undefined && most !== undefined) return `${least} to ${most}`;
  if (least !== undefined) return `at least ${least}`;
  return most === undefined ? "" : `at most ${most}`;
}
