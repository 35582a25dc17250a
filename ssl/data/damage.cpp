#include "ssl/data/damage.h"
#include "ssl/data/printable.h"

#include <algorithm>

#include "tensor/counted.h"
#include "tensor/join.h"

namespace tacit::ssl {

namespace {

/// "a.jpg (it ends before its last pixel)" from the message "[image] a.jpg is damaged: it ends before its last pixel".
std::string described(const std::string& file, std::string why) {
  if (file.empty()) return why.empty() ? "an image" : why;
  if (why.empty()) return printable(file);
  const size_t op = why[0] == '[' ? why.find("] ") : std::string::npos;
  if (op != std::string::npos) why.erase(0, op + 2);
  for (const char* verb : {" is damaged: ", " is ", " has ", " "})
    if (why.starts_with(file + verb)) {
      why.erase(0, (file + verb).size());
      break;
    }
  const std::string unreadable = "cannot read " + file;
  if (why.starts_with(unreadable)) why.replace(0, unreadable.size(), "cannot be read");
  return printable(file) + " (" + printable(why) + ")";
}

std::string named(const Damage& damage, const ImageSource& source, size_t most) {
  std::vector<std::string> list;
  for (const auto& [i, why] : damage) {
    std::string file;
    if (list.size() < most) {
      try {
        file = source.file(i);
      } catch (const Error&) {  // an archive that has been cut does not even tell the name
      }
    }
    list.push_back(list.size() < most ? described(file, why) : "");
  }
  return first_of(list, most);
}

}  // namespace

bool too_damaged(const Damage& damage, const ImageSource& source, double max_damaged) {
  return static_cast<double>(damage.size()) >
         std::max(max_damaged > 0 ? 1.0 : 0.0, max_damaged * static_cast<double>(source.size()));
}

void check_damage(const Damage& damage, const ImageSource& source, double max_damaged) {
  constexpr size_t kNamed = 5;
  if (!too_damaged(damage, source, max_damaged)) return;
  std::ostringstream text;
  text << "[data] " << damage.size() << " of " << counted(source.size(), "image") << " cannot be read, more than "
       << 100 * max_damaged << " %: " << named(damage, source, kNamed)
       << "; mend or remove such files, or allow more by a larger --max-damaged (now " << max_damaged << ")";
  throw DamageError(text.str());
}

std::string damage_warning(const Damage& damage, const ImageSource& source, const std::string& fate) {
  constexpr size_t kNamed = 20;
  return "warning: " + std::to_string(damage.size()) + " of " + counted(source.size(), "file") +
         (damage.size() == 1 ? " is" : " are") + " damaged and " + fate + ": " + named(damage, source, kNamed);
}

}  // namespace tacit::ssl
