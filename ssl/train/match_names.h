// Whose names are these? Files of weights come from wrappers that put words before a network's own names
// ("module.encoder_q.layer1.0.conv1.weight"). The rule: what is stripped is one prefix made of known words, the one
// behind which most names are the encoder's; nothing else is renamed, but for the numbered children of a Sequential.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tacit::ssl {

/// A word that may stand before the names of an encoder, and who puts it there.
struct Wrapper {
  const char* word;
  const char* source;
};
/// The only list of them. Of two prefixes that fit as well, the one whose last row in this list comes first is taken:
/// trained networks stand above their moving averages.
const std::vector<Wrapper>& wrappers();

/// What the names of a file are to an encoder. "Stripped" names are those behind the prefix.
struct NameMatch {
  std::string prefix;                             ///< what was stripped, as "module.encoder_q."; "" for nothing
  bool numbered = false;                          ///< children were numbers, as of Sequential(*resnet.children())
  std::map<std::string, std::string> matched;     ///< the encoder's name -> the file's
  std::vector<std::string> missing;               ///< the encoder's names that the file lacks, in the encoder's order
  std::map<std::string, std::string> unexpected;  ///< stripped names that the encoder lacks -> the file's
  std::vector<std::string> elsewhere;             ///< names in the file that do not begin with the prefix

  /// "102 matched, 0 missing, 2 unexpected (fc.bias, fc.weight), prefix "module.encoder_q." stripped, …".
  std::string text() const;
};

/// `encoder`: its names in the order of its visit(). Where several prefixes match as many names: see wrappers(), then
/// the shorter.
NameMatch match_names(const std::vector<std::string>& file, const std::vector<std::string>& encoder);

/// Bookkeeping that a network computes the same without: batch norm's num_batches_tracked, and what profilers add.
bool is_bookkeeping(const std::string& name);
/// Those unexpected names that are no head behind the encoder but parts of another one: without them the features would
/// not be those of the file's network.
std::vector<std::string> foreign_parts(const NameMatch&, const std::vector<std::string>& encoder);

}  // namespace tacit::ssl
