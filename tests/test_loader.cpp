// The loader: what a batch holds depends on (seed, epoch, position) alone.
#include <doctest/doctest.h>

#include <mutex>
#include <set>
#include <thread>

#include "backends/cpu/backend.h"
#include "images.h"
#include "ssl/data/loader.h"

using namespace tacit;
using namespace tacit::ssl;

namespace {

LoaderOptions options_for(int64_t prefetch = 2) {
  LoaderOptions o;
  o.batch_size = 16;
  o.image_size = 16;
  o.channels = 3;
  o.views = augmentation("simclr", 16, 3);
  o.seed = 5;
  o.prefetch = prefetch;
  return o;
}

/// Threads of our own in place of oneTBB's, into which the thread sanitizer cannot see.
class OwnThreads final : public Workers {
 public:
  ~OwnThreads() override { wait(); }
  void start(std::function<void()> work) override {
    const std::lock_guard lock(mutex_);
    threads_.emplace_back(std::move(work));
  }
  void for_each(int64_t n, const std::function<void(int64_t)>& f) override {
    constexpr int64_t kParts = 3;
    std::vector<std::thread> parts;
    for (int64_t p = 0; p < kParts; ++p)
      parts.emplace_back([&f, n, p] {
        for (int64_t i = n * p / kParts; i < n * (p + 1) / kParts; ++i) f(i);
      });
    for (std::thread& part : parts) part.join();
  }
  void wait() override {
    const std::lock_guard lock(mutex_);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

void check_equal(const Batch& a, const Batch& b) {
  CHECK(a.indices == b.indices);
  CHECK(a.epoch == b.epoch);
  CHECK(a.position == b.position);
  for (size_t v = 0; v < a.views.size(); ++v) CHECK(a.views[v].to_vector<float>() == b.views[v].to_vector<float>());
}

}  // namespace

TEST_CASE("the same batches with any prefetch and number of threads, and after a resume") {
  const ImageSourcePtr source = open_data({"synthetic:100"}, Split::All);
  std::vector<Batch> expected;
  Loader reference(source, options_for());
  CHECK(reference.batches_per_epoch() == 6);
  for (int i = 0; i < 10; ++i) expected.push_back(reference.next());
  CHECK(expected[6].epoch == 1);
  for (const int threads : {1, 2}) {
    cpu::set_threads(threads);
    for (const int64_t prefetch : {0, 5}) {
      Loader loader(source, options_for(prefetch));
      for (const Batch& batch : expected) check_equal(loader.next(), batch);
    }
  }
  Loader resumed(source, options_for(), 1, 2);
  check_equal(resumed.next(), expected[8]);
  check_equal(resumed.next(), expected[9]);
}

TEST_CASE("an epoch shows each image at most once; orders and views differ between epochs") {
  const ImageSourcePtr source = open_data({"synthetic:96"}, Split::All);
  Loader loader(source, options_for());
  std::set<int64_t> seen;
  std::vector<int64_t> first;
  for (int i = 0; i < 6; ++i) {
    const Batch batch = loader.next();
    if (i == 0) first = batch.indices;
    for (size_t b = 0; b < batch.indices.size(); ++b) {
      CHECK(seen.insert(batch.indices[b]).second);
      CHECK(batch.labels.to_vector<int64_t>()[b] == source->label(batch.indices[b]));
    }
    CHECK(batch.views[0].to_vector<float>() != batch.views[1].to_vector<float>());
  }
  CHECK(seen.size() == 96);
  CHECK(loader.next().indices != first);
}

TEST_CASE("damaged images are replaced by the next readable one and named; too many stop the run") {
  const ImageSourcePtr whole = open_data({"synthetic:400"}, Split::All);
  Loader loader(std::make_shared<testing::SomeDamaged>(whole, std::set<int64_t>{7, 8, 399}), options_for());
  std::multiset<int64_t> seen;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i)
    for (const int64_t index : loader.next().indices) seen.insert(index);
  CHECK(seen.count(7) == 0);
  CHECK(seen.count(9) == 3);
  CHECK(seen.count(0) == 2);
  CHECK(loader.damage().size() == 3);

  std::set<int64_t> many;
  for (int64_t i = 0; i < 400; i += 10) many.insert(i);
  Loader stops(std::make_shared<testing::SomeDamaged>(whole, many), options_for());
  CHECK_THROWS_WITH_AS(
      [&] {
        for (int i = 0; i < 25; ++i) stops.next();
      }(),
      doctest::Contains("more than 1 %"), Error);
}

TEST_CASE("damage counts when a batch is handed out, not when it is prepared ahead") {
  const ImageSourcePtr whole = open_data({"synthetic:400"}, Split::All);
  std::set<int64_t> many;
  for (int64_t i = 0; i < 400; i += 10) many.insert(i);
  std::set<int> stopped_at;
  for (const int64_t prefetch : {0, 20}) {
    LoaderOptions options = options_for(prefetch);
    options.max_damaged = 0.05;
    Loader loader(std::make_shared<testing::SomeDamaged>(whole, many), options);
    int batches = 0;
    CHECK_THROWS_AS(
        [&] {
          for (; batches < 25; ++batches) loader.next();
        }(),
        Error);
    CHECK(batches > 1);
    stopped_at.insert(batches);
  }
  CHECK(stopped_at.size() == 1);
}

TEST_CASE("a batch that is too damaged by itself: the same message, whichever thread met what") {
  std::set<int64_t> many;
  for (int64_t i = 0; i < 400; i += 2) many.insert(i);
  const auto source = std::make_shared<testing::SomeDamaged>(open_data({"synthetic:400"}, Split::All), many);
  std::set<std::string> messages;
  for (int repetition = 0; repetition < 20; ++repetition) {
    Loader loader(source, options_for(repetition % 3));
    try {
      loader.next();
    } catch (const DamageError& e) {
      messages.insert(e.what());
    }
    CHECK(loader.damage().empty());  // of the batch that was refused nothing counts
  }
  REQUIRE(messages.size() == 1);
  CHECK(messages.begin()->find("[data] 5 of 400 images cannot be read, more than 1 %: image ") != std::string::npos);
}

TEST_CASE("a loader may go away at any time") {
  const ImageSourcePtr source = open_data({"synthetic:200"}, Split::All);
  for (int taken = 0; taken < 5; ++taken) {
    Loader loader(source, options_for(4));
    for (int i = 0; i < taken; ++i) loader.next();
  }
  CHECK_THROWS_WITH_AS(Loader(source,
                              [] {
                                LoaderOptions o = options_for();
                                o.batch_size = 300;
                                return o;
                              }()),
                       doctest::Contains("batches of 300"), Error);
}

TEST_CASE("the slots' protocol on threads of our own: the same batches, damage counted, going away at any time") {
  const ImageSourcePtr whole = open_data({"synthetic:400"}, Split::All);
  std::set<int64_t> many;  // so many that several threads meet one in the same batch
  for (int64_t i = 0; i < 400; i += 3) many.insert(i);
  const auto source = std::make_shared<testing::SomeDamaged>(whole, many);
  LoaderOptions options = options_for(4);
  options.max_damaged = 1;
  Loader reference(source, options);
  options.workers = std::make_shared<OwnThreads>();
  {
    Loader loader(source, options);
    for (int i = 0; i < 27; ++i) check_equal(loader.next(), reference.next());
    CHECK(loader.damage() == reference.damage());
    CHECK(loader.damage().size() == many.size());
  }
  for (int taken = 0; taken < 4; ++taken) {
    Loader loader(source, options);
    for (int i = 0; i < taken; ++i) loader.next();
  }
}

TEST_CASE("damage met before a resume counts: the run stops at the batch where it would have stopped without") {
  const ImageSourcePtr whole = open_data({"synthetic:400"}, Split::All);
  std::set<int64_t> many;
  for (int64_t i = 0; i < 400; i += 40) many.insert(i);  // 10; more than 1 % are 5
  const auto source = std::make_shared<testing::SomeDamaged>(whole, many);
  const auto stops_at = [&](Loader& loader, int64_t batch, int64_t last) {
    try {
      for (; batch < last; ++batch) loader.next();
    } catch (const Error&) {
    }
    return batch;
  };
  Loader uninterrupted(source, options_for());
  const int64_t end = stops_at(uninterrupted, 0, 100), middle = end / 2;
  REQUIRE(end < uninterrupted.batches_per_epoch());

  Loader first(source, options_for());
  REQUIRE(stops_at(first, 0, middle) == middle);
  LoaderOptions options = options_for();
  for (const auto& damaged : first.damage()) options.known_damaged.push_back(damaged.first);
  REQUIRE_FALSE(options.known_damaged.empty());
  Loader resumed(source, options, 0, middle);
  CHECK(stops_at(resumed, middle, 100) == end);
  Loader forgetful(source, options_for(), 0, middle);
  CHECK(stops_at(forgetful, middle, 100) > end);
}
