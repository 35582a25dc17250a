// Sources made of other sources: parts of one, several in a row.
#include <tbb/parallel_for.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "ssl/data/damage.h"
#include "ssl/data/sources.h"
#include "ssl/data/wrapped.h"
#include "tensor/counted.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace tacit::ssl {

namespace {

class Subset final : public Wrapped {
 public:
  Subset(ImageSourcePtr whole, std::vector<int64_t> indices)
      : Wrapped(std::move(whole)),
        indices_(std::move(indices)),
        rising_(std::adjacent_find(indices_.begin(), indices_.end(), std::greater_equal<>()) == indices_.end()) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Image image(int64_t i) const override { return whole_->image(at(i)); }
  Image image_for(int64_t i, int64_t side) const override { return whole_->image_for(at(i), side); }
  std::optional<int64_t> label(int64_t i) const override { return whole_->label(at(i)); }
  std::string file(int64_t i) const override { return whole_->file(at(i)); }
  int64_t encoded_bytes(int64_t i) const override { return whole_->encoded_bytes(at(i)); }
  std::vector<int64_t> order(uint64_t seed, int64_t epoch) const override {
    if (!has_own_order()) return ImageSource::order(seed, epoch);
    std::vector<int64_t> place(static_cast<size_t>(whole_->size()), -1), order;
    for (size_t i = 0; i < indices_.size(); ++i) place[static_cast<size_t>(indices_[i])] = static_cast<int64_t>(i);
    for (const int64_t i : whole_->order(seed, epoch))
      if (place[static_cast<size_t>(i)] >= 0) order.push_back(place[static_cast<size_t>(i)]);
    return order;
  }
  // Only rising indices, as parts of a data set have: the others are a choice, made of few.
  bool has_own_order() const override { return whole_->has_own_order() && rising_; }
  uint64_t identity() const override {
    uint64_t hash = whole_->identity();
    if (hash == 0) return 0;
    for (const int64_t i : indices_) hash = random_stream("subset", hash, static_cast<uint64_t>(i));
    return hash;
  }

 private:
  int64_t at(int64_t i) const { return indices_[static_cast<size_t>(i)]; }
  std::vector<int64_t> indices_;
  bool rising_;
};

class Renumbered final : public Wrapped {
 public:
  Renumbered(ImageSourcePtr whole, std::vector<int64_t> number, std::vector<std::string> names)
      : Wrapped(std::move(whole)), number_(std::move(number)), names_(std::move(names)) {}
  std::optional<int64_t> label(int64_t i) const override {
    const std::optional<int64_t> own = whole_->label(i);
    return own ? std::optional(number_[static_cast<size_t>(*own)]) : own;
  }
  std::vector<std::string> class_names() const override { return names_; }

 private:
  std::vector<int64_t> number_;  // of each of the source's own labels
  std::vector<std::string> names_;
};

class Unlabelled final : public Wrapped {
 public:
  using Wrapped::Wrapped;
  std::optional<int64_t> label(int64_t) const override { return std::nullopt; }
  std::vector<std::string> class_names() const override { return {}; }
};

class Concatenated final : public ImageSource {
 public:
  explicit Concatenated(std::vector<ImageSourcePtr> parts) : parts_(std::move(parts)) {
    for (const ImageSourcePtr& part : parts_) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part->size());
  }
  int64_t size() const override { return ends_.back(); }
  Image image(int64_t i) const override { return part(i).image(within(i)); }
  Image image_for(int64_t i, int64_t side) const override { return part(i).image_for(within(i), side); }
  // Where a part has its own order, the parts' orders are interleaved at random, each part in proportion to what is
  // left of it.
  std::vector<int64_t> order(uint64_t seed, int64_t epoch) const override {
    if (!has_own_order()) return ImageSource::order(seed, epoch);
    std::vector<std::vector<int64_t>> orders;
    for (const ImageSourcePtr& p : parts_) orders.push_back(p->order(seed, epoch));
    std::vector<size_t> taken(parts_.size(), 0);
    std::vector<int64_t> order;
    Random random(seed, random_stream("interleave", static_cast<uint64_t>(epoch)));
    for (int64_t left = size(); left > 0; --left) {
      auto drawn = random.below(static_cast<uint64_t>(left));
      size_t p = 0;
      while (drawn >= orders[p].size() - taken[p]) {
        drawn -= orders[p].size() - taken[p];
        ++p;
      }
      order.push_back(orders[p][taken[p]++] + (p == 0 ? 0 : ends_[p - 1]));
    }
    return order;
  }
  bool has_own_order() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const ImageSourcePtr& p) { return p->has_own_order(); });
  }
  uint64_t identity() const override {
    uint64_t hash = 1;
    for (const ImageSourcePtr& p : parts_) {
      if (p->identity() == 0) return 0;
      hash = random_stream("concatenated", hash, p->identity());
    }
    return hash;
  }
  std::optional<int64_t> label(int64_t i) const override { return part(i).label(within(i)); }
  std::string file(int64_t i) const override { return part(i).file(within(i)); }
  int64_t encoded_bytes(int64_t i) const override { return part(i).encoded_bytes(within(i)); }
  int64_t channels() const override {
    int64_t most = 1;
    for (const ImageSourcePtr& p : parts_) most = std::max(most, p->channels());
    return most;
  }
  std::pair<int64_t, int64_t> image_size() const override {
    for (const ImageSourcePtr& p : parts_)
      if (p->image_size() != parts_[0]->image_size()) return {0, 0};
    return parts_[0]->image_size();
  }
  std::vector<std::string> class_names() const override { return parts_[0]->class_names(); }

 private:
  size_t which(int64_t i) const {
    return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), i) - ends_.begin());
  }
  const ImageSource& part(int64_t i) const { return *parts_[which(i)]; }
  int64_t within(int64_t i) const {
    const size_t p = which(i);
    return p == 0 ? i : i - ends_[p - 1];
  }
  std::vector<ImageSourcePtr> parts_;
  std::vector<int64_t> ends_;
};

}  // namespace

std::vector<int64_t> ImageSource::order(uint64_t seed, int64_t epoch) const {
  std::vector<int64_t> indices(static_cast<size_t>(size()));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  Random random(seed, random_stream("order", static_cast<uint64_t>(epoch)));
  shuffle(indices, random);
  return indices;
}

ImageSourcePtr subset(ImageSourcePtr whole, std::vector<int64_t> indices) {
  for (const int64_t i : indices)
    TACIT_CHECK(i >= 0 && i < whole->size(), "[subset] index ", i, " is out of range for ", whole->size(), " images");
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

ImageSourcePtr concatenate_sources(const std::vector<ImageSourcePtr>& parts) {
  TACIT_CHECK(!parts.empty(), "[data] no data");
  for (const ImageSourcePtr& part : parts)
    TACIT_CHECK(part->class_names() == parts[0]->class_names(), "[data] the classes of the data sets differ (",
                parts[0]->class_names().size(), " and ", counted(part->class_names().size(), "class", "classes"),
                ", or other names); use --no-labels or one data set");
  if (parts.size() == 1) return parts[0];
  return std::make_shared<Concatenated>(parts);
}

ImageSourcePtr without_labels(ImageSourcePtr source) { return std::make_shared<Unlabelled>(std::move(source)); }

ImageSourcePtr numbered_as(const ImageSource& train, ImageSourcePtr test) {
  std::vector<std::string> names = train.class_names();
  const std::vector<std::string> own = test->class_names();
  if (own == names || own.empty() || names.empty()) return test;
  std::vector<int64_t> number;
  for (const std::string& name : own) {
    const auto found = std::find(names.begin(), names.end(), name);
    TACIT_CHECK(found != names.end(), "[data] class '", name, "' of the test split is not among the ",
                counted(names.size(), "class", "classes"), " of the training split ('", names.front(),
                names.size() > 1 ? "' … '" + names.back() : "",
                "'); nothing could be right about it: rename or remove it, or use --no-labels");
    number.push_back(found - names.begin());
  }
  return std::make_shared<Renumbered>(std::move(test), std::move(number), std::move(names));
}

ImageSourcePtr without_damaged(ImageSourcePtr source, std::vector<std::string>* notes, double max_damaged) {
  std::vector<std::string> faults(static_cast<size_t>(source->size()));
  tbb::parallel_for(int64_t{0}, source->size(), [&](int64_t i) {
    try {
      if (!source->file(i).empty()) source->image_for(i, 1);  // those in memory were read when they were opened
    } catch (const Error& e) {
      faults[static_cast<size_t>(i)] = e.what();
    }
  });
  std::vector<int64_t> readable;
  Damage damage;
  for (int64_t i = 0; i < source->size(); ++i) {
    const std::string& fault = faults[static_cast<size_t>(i)];
    if (fault.empty())
      readable.push_back(i);
    else
      damage.emplace(i, fault);
  }
  if (damage.empty()) return source;
  check_damage(damage, *source, max_damaged);
  const std::string warning = damage_warning(damage, *source, "left out");
  TACIT_CHECK(!readable.empty(), "[data] not one image can be read; ", warning);
  if (notes) notes->push_back(warning);
  return subset(std::move(source), std::move(readable));
}

}  // namespace tacit::ssl
