// The names of a file of weights against an encoder's: every known prefix, which of several is taken, what is reported.
#include "ssl/train/match_names.h"

#include <doctest/doctest.h>

#include <set>

#include "nn/encoder.h"
#include "process.h"

namespace {

using namespace tacit;
using namespace tacit::ssl;
using testing::contains;
using Names = std::vector<std::string>;

Names names_of_encoder(nn::Encoder encoder) {
  Names names;
  for (const auto& [name, tensor] : nn::file_views(encoder)) names.push_back(name);
  return names;
}

Names prefixed(const std::string& prefix, Names names) {
  for (std::string& name : names) name = prefix + name;
  return names;
}

Names joined(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST_CASE("wrappers: every word alone and behind others; each has a source and is no encoder's own") {
  std::set<std::string> own;
  for (const char* encoder : {"resnet18", "small_cnn", "nin", "vit_micro"})
    for (const std::string& name : names_of_encoder(nn::make_encoder({.name = encoder, .width = 4})))
      own.insert(name.substr(0, name.find('.')));
  const Names mine = names_of_encoder(nn::make_encoder({.name = "small_cnn", .width = 4}));
  std::set<std::string> words;
  for (const Wrapper& row : wrappers()) {
    const std::string word = row.word;
    CAPTURE(word);
    CHECK(words.insert(word).second);
    CHECK(own.count(word) == 0);
    CHECK_FALSE(std::string(row.source).empty());
    CHECK_FALSE(contains(word, "."));
    for (const std::string& prefix : {word + ".", "module." + word + ".", word + ".module._orig_mod."}) {
      CAPTURE(prefix);
      const NameMatch match = match_names(joined(prefixed(prefix, mine), {"optimizer.lr"}), mine);
      CHECK(match.prefix == prefix);
      CHECK(match.matched.size() == mine.size());
      CHECK(match.matched.at("conv1.weight") == prefix + "conv1.weight");
      CHECK(match.missing.empty());
      CHECK(match.unexpected.empty());
      CHECK(match.elsewhere == Names{"optimizer.lr"});
      CHECK_FALSE(match.numbered);
    }
  }
  CHECK(match_names(prefixed("unknown.", mine), mine).matched.empty());
  CHECK(match_names(prefixed("unknown.encoder.", mine), mine).matched.empty());
}

TEST_CASE("wrappers: most names decide, then trained networks go before their averages, DINO's teacher before all") {
  const Names mine = names_of_encoder(nn::make_encoder({.name = "small_cnn", .width = 4}));
  const auto chosen = [&](const std::string& one, const std::string& other) {
    const Names a = prefixed(one, mine), b = prefixed(other, mine);
    const std::string prefix = match_names(joined(a, b), mine).prefix;
    CHECK(match_names(joined(b, a), mine).prefix == prefix);
    return prefix;
  };
  CHECK(chosen("", "module.") == "");
  CHECK(chosen("module.encoder_k.", "module.encoder_q.") == "module.encoder_q.");
  CHECK(chosen("module.momentum_encoder.", "module.base_encoder.") == "module.base_encoder.");
  CHECK(chosen("momentum_backbone.", "backbone.") == "backbone.");
  CHECK(chosen("backbone_momentum.", "backbone.") == "backbone.");
  CHECK(chosen("online_network.encoder.", "target_network.encoder.") == "online_network.encoder.");
  CHECK(chosen("online_encoder.net.", "target_encoder.net.") == "online_encoder.net.");
  CHECK(chosen("state_dict_ema.", "state_dict.") == "state_dict.");
  CHECK(chosen("model.", "model_ema.") == "model.");
  CHECK(chosen("student.module.backbone.", "teacher.backbone.") == "teacher.backbone.");
  // The average is whole, the trained network is not.
  Names partly = prefixed("encoder_q.", mine);
  partly.pop_back();
  CHECK(match_names(joined(partly, prefixed("encoder_k.", mine)), mine).prefix == "encoder_k.");
}

TEST_CASE("the report lists a few names of each kind and counts the others") {
  const Names mine = names_of_encoder(nn::make_encoder({.name = "small_cnn", .width = 4}));
  CHECK(match_names(mine, mine).text() == "24 matched, 0 missing, 0 unexpected");
  const Names file = joined(prefixed("module.encoder_q.", joined(mine, {"fc.weight", "fc.bias"})), {"module.queue"});
  CHECK(match_names(file, mine).text() ==
        "24 matched, 0 missing, 2 unexpected (fc.bias, fc.weight), prefix \"module.encoder_q.\" stripped, 1 outside it "
        "(module.queue)");
  CHECK(match_names({"conv1.weight", "a", "b", "c", "d"}, {"bn1.weight", "conv1.weight"}).text() ==
        "1 matched, 1 missing (bn1.weight), 4 unexpected (a, b, c and 1 more)");
}

TEST_CASE("numbered children of a Sequential are the encoder's, in order") {
  const Names mine = names_of_encoder(nn::make_encoder({.name = "resnet18", .width = 4}));
  // Sequential(*resnet18().children()): relu is 2 and maxpool 3; leftthomas/SimCLR leaves maxpool out.
  for (const bool maxpool : {true, false}) {
    std::map<std::string, std::string> numbers = {{"conv1", "0"}, {"bn1", "1"}};
    for (int i = 1; i <= 4; ++i) numbers["layer" + std::to_string(i)] = std::to_string(i + (maxpool ? 3 : 2));
    Names file = {"backbone.9.weight", "head.0.weight"};
    for (const std::string& name : mine) {
      const size_t dot = name.find('.');
      file.push_back("backbone." + numbers.at(name.substr(0, dot)) + name.substr(dot));
    }
    const NameMatch match = match_names(file, mine);
    CHECK(match.numbered);
    CHECK(match.prefix == "backbone.");
    CHECK(match.matched.size() == mine.size());
    CHECK(match.matched.at("layer4.1.bn2.bias") == (maxpool ? "backbone.7.1.bn2.bias" : "backbone.6.1.bn2.bias"));
    CHECK(match.unexpected == std::map<std::string, std::string>{{"9.weight", "backbone.9.weight"}});
    CHECK(contains(match.text(), "numbered children read in the encoder's order"));
  }
}
