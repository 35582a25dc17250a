#include "ssl/train/match_names.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "tensor/join.h"

namespace tacit::ssl {

namespace {

constexpr size_t kNamed = 3;  // names in a list

/// "layer1" of "layer1.0.conv1.weight".
std::string first_part(const std::string& name) { return name.substr(0, name.find('.')); }
std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

bool is_number(const std::string& part) {
  return !part.empty() && part.size() < 4 && part.find_first_not_of("0123456789") == std::string::npos;
}

int row_of(const std::string& word) {
  const std::vector<Wrapper>& rows = wrappers();
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Wrapper& row) { return word == row.word; });
  return found == rows.end() ? -1 : static_cast<int>(found - rows.begin());
}

/// A prefix in the order of preference among those that match as many names.
struct Candidate {
  int row = -1;  // of the last of its words in the list
  size_t length = 0;
  std::string prefix;
  bool operator<(const Candidate& o) const {
    return std::tie(row, length, prefix) < std::tie(o.row, o.length, o.prefix);
  }
};

/// "" and, of every name, the prefixes that are made of known words.
std::set<Candidate> candidates_of(const std::vector<std::string>& file) {
  std::set<Candidate> candidates{Candidate{}};
  for (const std::string& name : file) {
    int row = -1;
    size_t begin = 0;
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', begin)) {
      const int next = row_of(name.substr(begin, dot - begin));
      if (next < 0) break;
      row = std::max(row, next);
      begin = dot + 1;
      candidates.insert({row, begin, name.substr(0, begin)});
    }
  }
  return candidates;
}

std::vector<std::string> first_parts(const std::vector<std::string>& names) {
  std::vector<std::string> parts;
  for (const std::string& name : names)
    if (const std::string part = first_part(name); std::find(parts.begin(), parts.end(), part) == parts.end())
      parts.push_back(part);
  return parts;
}

/// A Sequential counts its children. Those with tensors are, in order, the encoder's: 0 1 4 5 6 7 of a torchvision
/// ResNet are conv1, bn1, layer1 … layer4, since relu and maxpool have none; without maxpool they are 0 1 3 4 5 6.
std::map<std::string, std::string> children_of(const std::vector<std::string>& stripped,
                                               const std::vector<std::string>& encoder) {
  std::set<int> numbers;
  for (const std::string& part : first_parts(stripped))
    if (is_number(part)) numbers.insert(std::stoi(part));
  std::map<std::string, std::string> children;
  auto number = numbers.begin();
  for (const std::string& child : first_parts(encoder)) {
    if (number == numbers.end()) break;
    children[std::to_string(*number++)] = child;
  }
  return children;
}

NameMatch match_behind(const std::string& prefix, bool numbered, const std::vector<std::string>& file,
                       const std::vector<std::string>& encoder) {
  NameMatch match;
  match.prefix = prefix;
  match.numbered = numbered;
  std::vector<std::string> stripped;
  for (const std::string& name : file) {
    if (name.rfind(prefix, 0) == 0)
      stripped.push_back(name.substr(prefix.size()));
    else
      match.elsewhere.push_back(name);
  }
  const std::map<std::string, std::string> children =
      numbered ? children_of(stripped, encoder) : std::map<std::string, std::string>{};
  const std::set<std::string> known(encoder.begin(), encoder.end());
  for (const std::string& name : stripped) {
    const auto child = children.find(first_part(name));
    const std::string own = child == children.end() ? name : child->second + name.substr(child->first.size());
    (known.count(own) ? match.matched : match.unexpected).emplace(own, prefix + name);
  }
  for (const std::string& name : encoder)
    if (!match.matched.count(name)) match.missing.push_back(name);
  return match;
}

}  // namespace

const std::vector<Wrapper>& wrappers() {
  static const std::vector<Wrapper> rows = {
      // What programs put around any network.
      {"state_dict", "checkpoints of MoCo, SimSiam, solo-learn and PyTorch Lightning: a dictionary in a dictionary"},
      {"model", "checkpoints of MAE, DeiT and Barlow Twins; attributes in PyTorch Lightning"},
      {"module", "torch.nn.parallel.DistributedDataParallel"},
      {"_orig_mod", "torch.compile"},
      {"net", "attributes in many programs; lucidrains/byol-pytorch"},
      {"network", "attributes in many programs"},
      {"classy_state_dict", "VISSL: classy_state_dict.base_model.model.trunk._feature_blocks"},
      {"base_model", "VISSL"},
      {"trunk", "VISSL"},
      {"_feature_blocks", "VISSL"},
      // The network that a method trains.
      {"encoder", "SimSiam: module.encoder; I-JEPA; Lightning Bolts"},
      {"backbone", "lightly, solo-learn, DINO, Barlow Twins, VICReg, MMSelfSup"},
      {"encoder_q", "MoCo v1, v2: module.encoder_q"},
      {"base_encoder", "MoCo v3: module.base_encoder"},
      {"online_network", "BYOL: Lightning Bolts, sthalles/PyTorch-BYOL"},
      {"online_encoder", "BYOL: lucidrains/byol-pytorch"},
      {"feature_extractor", "attributes in many programs"},
      {"f", "leftthomas/SimCLR: children counted"},
      {"resnet", "attributes in many programs"},
      {"vit", "attributes in many programs"},
      // Moving averages. DINO evaluates its teacher, which therefore comes before the student.
      {"teacher", "DINO, iBOT: teacher.backbone"},
      {"student", "DINO, iBOT: student.module.backbone"},
      {"encoder_k", "MoCo v1, v2"},
      {"momentum_encoder", "MoCo v3"},
      {"momentum_backbone", "solo-learn"},
      {"backbone_momentum", "lightly"},
      {"target_encoder", "I-JEPA; lucidrains/byol-pytorch"},
      {"target_network", "BYOL: Lightning Bolts, sthalles/PyTorch-BYOL"},
      {"state_dict_ema", "timm's training script"},
      {"model_ema", "DeiT's training script"},
  };
  return rows;
}

NameMatch match_names(const std::vector<std::string>& file, const std::vector<std::string>& encoder) {
  NameMatch best;
  bool first = true;
  for (const Candidate& candidate : candidates_of(file)) {
    for (const bool numbered : {false, true}) {
      NameMatch match = match_behind(candidate.prefix, numbered, file, encoder);
      if (!first && match.matched.size() <= best.matched.size()) continue;
      best = std::move(match);
      first = false;
    }
  }
  return best;
}

bool is_bookkeeping(const std::string& name) {
  // total_ops and total_params: thop's.
  const std::string last = last_part(name);
  return last == "num_batches_tracked" || last == "total_ops" || last == "total_params";
}

std::vector<std::string> foreign_parts(const NameMatch& match, const std::vector<std::string>& encoder) {
  // Further tokens and a norm before the blocks (timm's and DINOv2's names) change features from outside the blocks.
  std::set<std::string> parts = {"norm_pre", "reg_token", "register_tokens", "dist_token"};
  for (const std::string& part : first_parts(encoder)) parts.insert(part);
  std::vector<std::string> foreign;
  for (const auto& [name, theirs] : match.unexpected)
    if (parts.count(first_part(name)) && !is_bookkeeping(name)) foreign.push_back(name);
  return foreign;
}

std::string NameMatch::text() const {
  const auto with_names = [](const std::vector<std::string>& names, const char* what) {
    return std::to_string(names.size()) + what + (names.empty() ? "" : " (" + first_of(names, kNamed) + ")");
  };
  std::vector<std::string> heads;
  for (const auto& name : unexpected) heads.push_back(name.first);
  std::string text = std::to_string(matched.size()) + " matched, " + with_names(missing, " missing") + ", " +
                     with_names(heads, " unexpected");
  if (!prefix.empty()) text += ", prefix \"" + prefix + "\" stripped";
  if (numbered) text += ", numbered children read in the encoder's order";
  if (!elsewhere.empty()) text += ", " + with_names(elsewhere, " outside it");
  return text;
}

}  // namespace tacit::ssl
