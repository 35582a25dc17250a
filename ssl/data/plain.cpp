// The plain views of a whole source, batch by batch, for evaluation.
#include <tbb/parallel_for.h>

#include <algorithm>

#include "ssl/data/loader.h"
#include "tensor/error.h"

namespace tacit::ssl {

void for_each_plain_batch(const ImageSource& source, const ViewPolicy& normalisation, int64_t image_size,
                          int64_t channels, int64_t batch_size,
                          const std::function<void(const Tensor& images, int64_t first)>& f) {
  TACIT_CHECK(batch_size > 0, "[data] the batch size must be positive, got ", batch_size);
  const int64_t floats = image_size * image_size * channels;
  std::vector<float> pixels;
  std::vector<std::string> errors;
  for (int64_t first = 0; first < source.size(); first += batch_size) {
    const int64_t n = std::min(batch_size, source.size() - first);
    pixels.resize(static_cast<size_t>(n * floats));
    errors.assign(static_cast<size_t>(n), "");
    tbb::parallel_for(int64_t{0}, n, [&](int64_t i) {
      try {
        plain_view(source.image(first + i), normalisation, image_size, channels, pixels.data() + i * floats);
      } catch (const Error& error) {
        errors[static_cast<size_t>(i)] = error.what();
      }
    });
    // Evaluation replaces nothing: its figures and files are about exactly these images.
    for (const std::string& error : errors) TACIT_CHECK(error.empty(), error, "; remove it from the data");
    f(Tensor::from(pixels, {n, image_size, image_size, channels}), first);
  }
}

}  // namespace tacit::ssl
