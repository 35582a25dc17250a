#include "ssl/train/settings.h"
#include "tensor/join.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace tacit::ssl {

namespace {

template <class... Parts>
[[noreturn]] void usage(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw UsageError(text.str());
}

template <class T>
T parse_number(const std::string& flag, const std::string& text, const char* expected) {
  T value{};
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  const auto result = std::from_chars(begin, end, value);
  if (text.empty() || result.ec != std::errc() || result.ptr != end)
    usage("--", flag, " expects ", expected, ", got '", text, "'");
  return value;
}
int64_t parse_integer(const std::string& flag, const std::string& text) {
  return parse_number<int64_t>(flag, text, "a whole number");
}
double parse_double(const std::string& flag, const std::string& text) {
  const double value = parse_number<double>(flag, text, "a number");
  if (!std::isfinite(value)) usage("--", flag, " expects a finite number, got '", text, "'");
  return value;
}
bool parse_bool(const std::string& flag, const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  usage("--", flag, " expects true or false, got '", text, "'");
}

std::vector<std::string> split_commas(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const std::string& text : texts) {
    std::istringstream stream(text + ",");  // an empty text is one empty part: no number
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  }
  return parts;
}

/// Writes texts from a command line into a target.
struct Parse {
  const std::string& flag;
  const std::vector<std::string>& texts;

  const std::string& one() const {
    if (texts.size() != 1) usage("--", flag, " is given ", texts.size(), " times; it takes one value");
    return texts[0];
  }
  void operator()(bool* t) const { *t = parse_bool(flag, one()); }
  void operator()(int64_t* t) const { *t = parse_integer(flag, one()); }
  void operator()(double* t) const { *t = parse_double(flag, one()); }
  void operator()(std::string* t) const { *t = one(); }
  void operator()(std::optional<bool>* t) const { *t = parse_bool(flag, one()); }
  void operator()(std::optional<int64_t>* t) const { *t = parse_integer(flag, one()); }
  void operator()(std::optional<double>* t) const { *t = parse_double(flag, one()); }
  void operator()(std::vector<std::string>* t) const { *t = texts; }
  void operator()(std::vector<int64_t>* t) const {
    t->clear();
    for (const std::string& part : split_commas(texts)) t->push_back(parse_integer(flag, part));
  }
};

/// Debian's toml++ 3.3 runs into undefined behaviour at some characters beyond ASCII (found by
/// tests/fuzz/fuzz_toml.cpp), so it is never shown one: such bytes, and '~' itself, are "~" and two hexadecimal digits
/// while it has the text.
std::string to_ascii(const std::string& text) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  std::string ascii;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && c != '~')
      ascii += c;
    else
      ascii += {'~', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return ascii;
}
std::string from_ascii(const std::string& ascii) {
  std::string text;
  for (size_t i = 0; i < ascii.size(); ++i) {
    unsigned byte = 0;
    const char* const digits = ascii.data() + i + 1;
    const bool escape = ascii[i] == '~' && i + 2 < ascii.size() &&
                        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2 &&
                        (byte >= 0x80 || byte == '~');
    text += escape ? static_cast<char>(byte) : ascii[i];
    if (escape) i += 2;
  }
  return text;
}

/// Writes a TOML value into a target.
struct FromToml {
  const std::string& key;
  const std::string where;
  const toml::node& node;

  [[noreturn]] void expected(const char* what) const { usage(where, ": '", key, "' expects ", what); }
  template <class T>
  T scalar(const toml::node& n, const char* what) const {
    if constexpr (std::is_same_v<T, double>) {
      if (auto whole = n.value_exact<int64_t>()) return static_cast<double>(*whole);
    }
    auto value = n.value_exact<T>();
    if (!value) expected(what);
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(*value)) expected("a finite number");
    }
    if constexpr (std::is_same_v<T, std::string>) return from_ascii(*value);
    return *value;
  }
  template <class T>
  std::vector<T> list(const char* what) const {
    std::vector<T> values;
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) values.push_back(scalar<T>(element, what));
    } else {
      values.push_back(scalar<T>(node, what));
    }
    return values;
  }
  void operator()(bool* t) const { *t = scalar<bool>(node, "true or false"); }
  void operator()(int64_t* t) const { *t = scalar<int64_t>(node, "a whole number"); }
  void operator()(double* t) const { *t = scalar<double>(node, "a number"); }
  void operator()(std::string* t) const { *t = scalar<std::string>(node, "a string"); }
  void operator()(std::optional<bool>* t) const { *t = scalar<bool>(node, "true or false"); }
  void operator()(std::optional<int64_t>* t) const { *t = scalar<int64_t>(node, "a whole number"); }
  void operator()(std::optional<double>* t) const { *t = scalar<double>(node, "a number"); }
  void operator()(std::vector<std::string>* t) const { *t = list<std::string>("a string or a list of strings"); }
  void operator()(std::vector<int64_t>* t) const { *t = list<int64_t>("a whole number or a list of them"); }
};

std::string quoted(const std::string& text) {
  std::ostringstream out;
  out << toml::array{to_ascii(text)};  // "[ 'text' ]": the library knows how to escape
  const std::string all = out.str();
  const size_t first = all.find_first_not_of("[ "), last = all.find_last_not_of(" ]");
  return from_ascii(all.substr(first, last - first + 1));
}

std::string toml_double(double value) {
  std::string text = shortest(value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

/// A target's value as TOML; empty for "not set".
struct ToToml {
  std::string operator()(const bool* t) const { return *t ? "true" : "false"; }
  std::string operator()(const int64_t* t) const { return std::to_string(*t); }
  std::string operator()(const double* t) const { return toml_double(*t); }
  std::string operator()(const std::string* t) const { return quoted(*t); }
  std::string operator()(const std::optional<bool>* t) const { return *t ? (**t ? "true" : "false") : ""; }
  std::string operator()(const std::optional<int64_t>* t) const { return *t ? std::to_string(**t) : ""; }
  std::string operator()(const std::optional<double>* t) const { return *t ? toml_double(**t) : ""; }
  template <class T>
  std::string operator()(const std::vector<T>* t) const {
    std::string text = "[";
    for (const T& element : *t) text += (text.size() > 1 ? ", " : "") + (*this)(&element);
    return text + "]";
  }
};

/// Empties an optional target.
struct Unset {
  template <class T>
  void operator()(std::optional<T>* t) const {
    t->reset();
  }
  template <class T>
  void operator()(T*) const {}
};

}  // namespace

Settings& Settings::group(std::string heading) {
  group_ = std::move(heading);
  return *this;
}

Settings& Settings::add(std::string name, Target target, std::string help, Effect effect) {
  TACIT_CHECK(!has(name), "[settings] '", name, "' is listed twice");
  all_.push_back({std::move(name), std::move(help), group_, target, effect, ""});
  return *this;
}

bool Settings::Setting::known_to(const std::string& method) const {
  return methods.empty() || std::find(methods.begin(), methods.end(), method) != methods.end();
}

Settings& Settings::add_for(const std::string& method, std::string name, Target target, std::string help) {
  const auto listed = std::find_if(all_.begin(), all_.end(), [&](const Setting& s) { return s.name == name; });
  if (listed != all_.end()) {
    TACIT_CHECK(listed->target == target, "[settings] '", name, "' is listed twice, for two values");
    listed->methods.push_back(method);
    return *this;
  }
  add(std::move(name), target, std::move(help), Effect::Trajectory);
  all_.back().methods.push_back(method);
  return *this;
}

Settings& Settings::of_method(const std::string* method) {
  method_ = method;
  return *this;
}

void Settings::check_known_to_method() const {
  for (const Setting& setting : all_) {
    if (!method_ || !said(setting.name) || setting.known_to(*method_)) continue;
    usage("--", setting.name, " is of ", join(setting.methods), "; ", *method_, " has no such setting");
  }
}

Settings& Settings::used_if(const std::string& method, std::string name, std::function<bool()> when,
                            std::string otherwise) {
  uses_.push_back({method, std::move(name), std::move(when), std::move(otherwise)});
  return *this;
}

const Settings::Use* Settings::unmet(const std::string& name) const {
  for (const Use& use : uses_)
    if (use.name == name && (use.method.empty() || (method_ && use.method == *method_)) && !use.when()) return &use;
  return nullptr;
}

void Settings::check_used() const {
  for (const std::string& name : flags_)
    if (const Use* const use = unmet(name)) usage(use->otherwise);
}

bool Settings::in_use(const Setting& setting) const {
  return (!method_ || setting.known_to(*method_)) && !unmet(setting.name);
}

Settings& Settings::exclusive(std::string a, std::string b) {
  exclusive_.emplace_back(std::move(a), std::move(b));
  return *this;
}

const Settings::Setting* Settings::find(const std::string& name) const {
  const auto found = std::find_if(all_.begin(), all_.end(), [&](const Setting& s) { return s.name == name; });
  return found == all_.end() ? nullptr : &*found;
}

Settings& Settings::many(const std::string& name) {
  for (Setting& setting : all_)
    if (setting.name == name) setting.many = true;
  return *this;
}

void Settings::show_default(const std::string& name, const std::string& text) {
  for (Setting& setting : all_)
    if (setting.name == name) setting.shown_default = text;
}

std::string Settings::value(const std::string& name) const {
  const Setting* setting = find(name);
  TACIT_CHECK(setting, "[settings] there is no '", name, "'");
  const std::string text = std::visit(ToToml{}, setting->target);
  return text.empty() ? "not set" : text;
}

void Settings::check_exclusive(const std::vector<std::string>& names, const std::string& where) const {
  const auto given = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& pair : exclusive_)
    if (given(pair.first) && given(pair.second))
      usage(where, "--", pair.first, " and --", pair.second, " contradict each other; give one");
}

void Settings::unset_partner(const std::string& name) const {
  for (const auto& pair : exclusive_) {
    if (pair.first == name) std::visit(Unset{}, find(pair.second)->target);
    if (pair.second == name) std::visit(Unset{}, find(pair.first)->target);
  }
}

void Settings::apply(const Given& given) {
  std::vector<std::string> names;
  for (const auto& flag : given) names.push_back(flag.first);
  check_exclusive(names, "");
  for (const auto& flag : given) {
    const Setting* setting = find(flag.first);
    if (!setting) usage("unknown flag --", flag.first);
    unset_partner(flag.first);
    said_.insert(flag.first);
    flags_.insert(flag.first);
    std::visit(Parse{setting->name, flag.second}, setting->target);
  }
}

void Settings::apply_toml(const std::string& text, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse(to_ascii(text));
  } catch (const toml::parse_error& e) {
    usage(file, ", line ", e.source().begin.line, ": ", from_ascii(std::string(e.description())));
  }
  std::vector<std::string> names;
  for (auto&& entry : table) {
    const std::string key = from_ascii(std::string(entry.first.str()));
    const std::string where = file + ", line " + std::to_string(entry.first.source().begin.line);
    const Setting* setting = find(key);
    if (!setting) usage(where, ": unknown key '", key, "'");
    names.push_back(key);
    unset_partner(key);
    said_.insert(key);
    std::visit(FromToml{key, where, entry.second}, setting->target);
  }
  check_exclusive(names, file + ": ");
}

std::string Settings::toml(bool only_trajectory) const {
  std::string text, heading;
  for (const Setting& setting : all_) {
    if (setting.effect == Effect::Session || (only_trajectory && setting.effect != Effect::Trajectory)) continue;
    if (!in_use(setting)) continue;
    const std::string value = std::visit(ToToml{}, setting.target);
    if (value.empty()) continue;
    if (setting.group != heading && !only_trajectory) text += (text.empty() ? "# " : "\n# ") + setting.group + "\n";
    heading = setting.group;
    text += setting.name + " = " + value + "\n";
  }
  return text;
}

std::string shortest(double value) {
  if (std::isnan(value)) return "nan";  // its sign means nothing
  char buffer[40];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

std::string three_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}  // namespace tacit::ssl
