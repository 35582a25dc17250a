// Settings: named values that a command line, a TOML file and a run directory have in common.
// The rule: a value has one name, the long flag's, everywhere; a name that is not listed is an error, never ignored.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/error.h"

namespace tacit::ssl {

/// What flags, a configuration file or the build alone show to be wrong; found before any work (exit status 2).
class UsageError : public Error {
 public:
  using Error::Error;
};

/// What changing a setting does to a run that is resumed.
enum class Effect : uint8_t {
  Trajectory,  ///< other numbers: refused on resume, kept in checkpoints
  Place,       ///< the same, but it names a place (a path, a device), so it stays out of checkpoints
  Free,        ///< the same numbers: may differ on resume
  Session      ///< of this invocation only (--out, --resume, --json): never written to a configuration
};

class Settings {
 public:
  /// Where the value lives. An empty optional is "not set".
  using Target = std::variant<bool*, int64_t*, double*, std::string*, std::optional<bool>*, std::optional<int64_t>*,
                              std::optional<double>*, std::vector<std::string>*, std::vector<int64_t>*>;
  /// A flag: its name, help and place, what it sets and what a change of it would do.
  struct Setting {
    std::string name, help, group;
    Target target;
    Effect effect;
    std::string shown_default = {};         ///< in help, instead of the value; "" for the value
    std::vector<std::string> methods = {};  ///< that know it; empty: all
    bool many = false;                      ///< several values may follow the flag: --query A B
    bool known_to(const std::string& method) const;
  };
  /// Names and texts as a command line has them.
  using Given = std::vector<std::pair<std::string, std::vector<std::string>>>;

  /// Settings added from now on stand under this heading.
  Settings& group(std::string heading);
  /// `target` must outlive the Settings; its value is the default.
  Settings& add(std::string name, Target target, std::string help, Effect effect = Effect::Free);
  /// A setting that only some methods know. Adding a name again, for another method, needs the same target.
  Settings& add_for(const std::string& method, std::string name, Target target, std::string help);
  /// Several values may follow this flag, where else each has its own.
  Settings& many(const std::string& name);
  /// Where the name of the method lives whose settings are written by toml().
  Settings& of_method(const std::string* method);
  /// Throws UsageError where a flag or key was given that the method does not know.
  void check_known_to_method() const;
  /// A setting that the method ("": any) uses only where when(), which reads other settings. toml() leaves it out
  /// elsewhere, so that a configuration names what its run uses.
  Settings& used_if(const std::string& method, std::string name, std::function<bool()> when, std::string otherwise);
  /// Throws UsageError with that text where an unused flag was given. What recipes and files set is no mistake: flags
  /// go over them, and a file of all settings names unused ones too.
  void check_used() const;
  /// Whether the method knows it and, with the values as they are, uses it.
  bool in_use(const Setting&) const;
  /// Setting one of two optional values unsets the other; both in one layer are an error.
  Settings& exclusive(std::string a, std::string b);

  const std::vector<Setting>& all() const { return all_; }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  /// Whether a layer gave it: the value is not just the default.
  bool said(const std::string& name) const { return said_.count(name) > 0; }
  /// Whether it stood on the command line.
  bool flagged(const std::string& name) const { return flags_.count(name) > 0; }
  /// What help shows in the place of the default.
  void show_default(const std::string& name, const std::string& text);
  /// The value as TOML writes it; "not set" for an empty optional. Throws Error for an unknown name.
  std::string value(const std::string& name) const;

  /// Applies a layer of flags. Throws UsageError naming the flag.
  void apply(const Given& given);
  /// Applies a TOML text; `file` is what errors call it. Throws UsageError naming the key and its line.
  void apply_toml(const std::string& text, const std::string& file);
  /// All values that are set and in use, in order, under comments with the headings; apply_toml reads it back.
  /// `only_trajectory` leaves out what does not change a run's numbers or names a place.
  std::string toml(bool only_trajectory = false) const;

 private:
  const Setting* find(const std::string& name) const;
  void check_exclusive(const std::vector<std::string>& names, const std::string& where) const;
  void unset_partner(const std::string& name) const;

  std::string group_;
  const std::string* method_ = nullptr;
  std::vector<Setting> all_;
  std::vector<std::pair<std::string, std::string>> exclusive_;
  struct Use {
    std::string method, name;
    std::function<bool()> when;
    std::string otherwise;
  };
  /// The condition under which a setting is not in use; null if it is.
  const Use* unmet(const std::string& name) const;
  std::vector<Use> uses_;
  std::set<std::string> said_, flags_;  // by any layer; on the command line
};

/// f(), with the flag's name before the message of an Error of it: for files that a flag names.
template <class F>
decltype(auto) about_flag(const std::string& flag, F&& f) {
  try {
    return f();
  } catch (const UsageError&) {
    throw;
  } catch (const Error& e) {
    throw Error("--" + flag + ": " + e.what());
  }
}

/// The shortest decimal text that reads back as the same double; "nan" whatever its sign.
std::string shortest(double value);
/// Three digits, with an exponent where the number is large or small: "0.0312", "1.23e+05".
std::string three_digits(double value);

}  // namespace tacit::ssl
