// Sources made of other sources: parts of one, several in a row.
#include <tbb/parallel_for.h>

#include <algorithm>

#include "ssl/data/sources.h"
#include "tensor/error.h"

namespace tacit::ssl {

namespace {

class Subset final : public ImageSource {
 public:
  Subset(ImageSourcePtr whole, std::vector<int64_t> indices) : whole_(std::move(whole)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Image image(int64_t i) const override { return whole_->image(at(i)); }
  std::optional<int64_t> label(int64_t i) const override { return whole_->label(at(i)); }
  std::string file(int64_t i) const override { return whole_->file(at(i)); }
  int64_t channels() const override { return whole_->channels(); }
  std::pair<int64_t, int64_t> image_size() const override { return whole_->image_size(); }
  std::vector<std::string> class_names() const override { return whole_->class_names(); }

 private:
  int64_t at(int64_t i) const { return indices_[static_cast<size_t>(i)]; }
  ImageSourcePtr whole_;
  std::vector<int64_t> indices_;
};

class Renumbered final : public ImageSource {
 public:
  Renumbered(ImageSourcePtr whole, std::vector<int64_t> number, std::vector<std::string> names)
      : whole_(std::move(whole)), number_(std::move(number)), names_(std::move(names)) {}
  int64_t size() const override { return whole_->size(); }
  Image image(int64_t i) const override { return whole_->image(i); }
  std::optional<int64_t> label(int64_t i) const override {
    const std::optional<int64_t> own = whole_->label(i);
    return own ? std::optional(number_[static_cast<size_t>(*own)]) : own;
  }
  std::string file(int64_t i) const override { return whole_->file(i); }
  int64_t channels() const override { return whole_->channels(); }
  std::pair<int64_t, int64_t> image_size() const override { return whole_->image_size(); }
  std::vector<std::string> class_names() const override { return names_; }

 private:
  ImageSourcePtr whole_;
  std::vector<int64_t> number_;  // of each of the source's own labels
  std::vector<std::string> names_;
};

class Concatenated final : public ImageSource {
 public:
  explicit Concatenated(std::vector<ImageSourcePtr> parts) : parts_(std::move(parts)) {
    for (const ImageSourcePtr& part : parts_) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part->size());
  }
  int64_t size() const override { return ends_.back(); }
  Image image(int64_t i) const override { return part(i).image(within(i)); }
  std::optional<int64_t> label(int64_t i) const override { return part(i).label(within(i)); }
  std::string file(int64_t i) const override { return part(i).file(within(i)); }
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

ImageSourcePtr subset(ImageSourcePtr whole, std::vector<int64_t> indices) {
  for (const int64_t i : indices)
    TACIT_CHECK(i >= 0 && i < whole->size(), "[subset] index ", i, " is out of range for ", whole->size(), " images");
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

ImageSourcePtr concatenate_sources(const std::vector<ImageSourcePtr>& parts) {
  TACIT_CHECK(!parts.empty(), "[data] no data");
  for (const ImageSourcePtr& part : parts)
    TACIT_CHECK(part->class_names() == parts[0]->class_names(), "[data] the classes of the data sets differ (",
                parts[0]->class_names().size(), " and ", part->class_names().size(),
                " classes, or other names); use --no-labels or one data set");
  if (parts.size() == 1) return parts[0];
  return std::make_shared<Concatenated>(parts);
}

ImageSourcePtr numbered_as(const ImageSource& train, ImageSourcePtr test) {
  std::vector<std::string> names = train.class_names();
  const std::vector<std::string> own = test->class_names();
  if (own == names || own.empty() || names.empty()) return test;
  std::vector<int64_t> number;
  for (const std::string& name : own) {
    const auto found = std::find(names.begin(), names.end(), name);
    TACIT_CHECK(found != names.end(), "[data] class '", name, "' of the test split is not among the ", names.size(),
                " classes of the training split ('", names.front(), "' … '", names.back(),
                "'); nothing could be right about it: rename or remove it, or use --no-labels");
    number.push_back(found - names.begin());
  }
  return std::make_shared<Renumbered>(std::move(test), std::move(number), std::move(names));
}

void check_damaged(size_t damaged, int64_t size, double max_damaged, const std::string& last) {
  TACIT_CHECK(static_cast<double>(damaged) <= std::max(1.0, max_damaged * static_cast<double>(size)), "[data] ",
              damaged, " of ", size, " images cannot be read, more than ", 100 * max_damaged, " %; the last: ", last);
}

ImageSourcePtr without_damaged(ImageSourcePtr source, std::vector<std::string>* notes, double max_damaged) {
  if (source->size() == 0 || source->file(0).empty()) return source;  // images in memory were read when it was opened
  std::vector<std::string> faults(static_cast<size_t>(source->size()));
  tbb::parallel_for(int64_t{0}, source->size(), [&](int64_t i) {
    try {
      source->image(i);
    } catch (const Error& e) {
      faults[static_cast<size_t>(i)] = e.what();
    }
  });
  std::vector<int64_t> readable;
  std::string last;
  for (int64_t i = 0; i < source->size(); ++i) {
    const std::string& fault = faults[static_cast<size_t>(i)];
    if (fault.empty()) readable.push_back(i);
    if (!fault.empty()) last = fault;
    if (!fault.empty() && notes) notes->push_back("warning: left out: " + fault);
  }
  const auto damaged = static_cast<size_t>(source->size()) - readable.size();
  check_damaged(damaged, source->size(), max_damaged, last);
  TACIT_CHECK(!readable.empty(), "[data] not one image can be read: ", last);
  return damaged == 0 ? source : subset(std::move(source), std::move(readable));
}

}  // namespace tacit::ssl
