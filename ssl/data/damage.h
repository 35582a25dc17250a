// Images that cannot be read: counted, named with the reason, and an error where they are too many.
// The rule: what is said of them depends on the data alone, never on which thread met one first.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ssl/data/image_source.h"
#include "tensor/error.h"

namespace tacit::ssl {

/// The images of a source that cannot be read, by index, and why; "" where that is not known (any more).
using Damage = std::map<int64_t, std::string>;

/// More images than --max-damaged allows cannot be read.
class DamageError : public Error {
 public:
  using Error::Error;
};

/// Whether these are more than max_damaged (a fraction) of the source's images. One image never is.
bool too_damaged(const Damage&, const ImageSource&, double max_damaged);
/// Throws DamageError where they are: their number, the first five with the reasons, and the remedy.
void check_damage(const Damage&, const ImageSource&, double max_damaged);
/// "warning: 3 of 100 files are damaged and left out: a.jpg (it ends before its last pixel), …", where `fate` is "left
/// out". Names twenty at most. There must be one.
std::string damage_warning(const Damage&, const ImageSource&, const std::string& fate);

}  // namespace tacit::ssl
