// Streams, events and graphs. A stream keeps what it is given and does it when it must: because the host waits for it,
// because another stream waits for an event of it, or because it wakes: how many things it is given before it does is
// drawn (from TACIT_EMULATOR_SEED), none as often as up to kLongestSleep, since a ring is only met again after many.
// So work of two streams that no event orders runs in either order, and a host that writes where a copy still reads is
// found out. While a stream is captured, its work goes to a graph, which does it each time that it is launched.
#include <cuda_runtime.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/cuda_emulator/internal.h"

namespace emulator {
namespace {

struct Queue {
  std::deque<std::function<void()>> pending;
  uint64_t given = 0, done = 0, asleep = 0;  // for so many more
  bool held = false;

  void run_to(uint64_t ticket) {
    while (done < ticket) {
      const std::function<void()> work = std::move(pending.front());
      pending.pop_front();
      ++done;
      work();
    }
  }
  void run() { run_to(given); }
};

}  // namespace
}  // namespace emulator

using emulator::remember;

struct CUgraph_st {
  std::vector<std::function<void()>> works;
  std::vector<void*> memory;  // of the allocations that were captured
  ~CUgraph_st() {
    for (void* const block : memory) emulator::release(block);
  }
};
struct CUgraphExec_st {
  std::shared_ptr<CUgraph_st> graph;
};
struct CUstream_st {
  std::shared_ptr<emulator::Queue> queue = std::make_shared<emulator::Queue>();
  std::unique_ptr<CUgraph_st> capture;
};
struct CUevent_st {
  std::shared_ptr<emulator::Queue> queue;  // none: never recorded
  uint64_t ticket = 0;
};

namespace {

std::recursive_mutex mutex;
std::set<CUstream_st*>& streams() {
  static std::set<CUstream_st*> all;
  return all;
}
CUstream_st* captured = nullptr;  // one at a time
bool capture_broken = false;
int64_t waited = 0;

constexpr uint64_t kLongestSleep = 256;

void give(emulator::Queue& queue, std::function<void()> work) {
  static emulator::Order order;
  queue.pending.push_back(std::move(work));
  ++queue.given;
  if (queue.held || (queue.asleep > 0 && queue.asleep-- > 0)) return;
  queue.run();
  queue.asleep = order.below(2) == 0 ? 0 : order.below(kLongestSleep >> order.below(8));
}

}  // namespace

namespace emulator {

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(mutex);
  if (stream == nullptr) {
    work();
  } else if (stream->capture) {
    stream->capture->works.push_back(std::move(work));
  } else {
    give(*stream->queue, std::move(work));
  }
  return cudaSuccess;
}

cudaError_t not_in_capture() {
  const std::lock_guard lock(mutex);
  if (captured == nullptr) return cudaSuccess;
  capture_broken = true;
  return remember(cudaErrorStreamCaptureUnsupported);
}

bool keep_for_graph(cudaStream_t stream, void* block) {
  const std::lock_guard lock(mutex);
  if (stream == nullptr || !stream->capture) return false;
  stream->capture->memory.push_back(block);
  return true;
}
bool kept_for_graph(cudaStream_t stream, void* block) {
  const std::lock_guard lock(mutex);
  const std::vector<void*>& memory = stream->capture->memory;
  return std::find(memory.begin(), memory.end(), block) != memory.end();
}
bool captures(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  return stream != nullptr && stream->capture != nullptr;
}

void wait_for(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  ++waited;
  if (stream != nullptr) stream->queue->run();
}
void wait_for_all() {
  const std::lock_guard lock(mutex);
  ++waited;
  for (CUstream_st* const stream : streams()) stream->queue->run();
}

Hold::Hold(cudaStream_t stream) : stream_(stream) {
  const std::lock_guard lock(mutex);
  stream->queue->held = true;
}
Hold::~Hold() {
  const std::lock_guard lock(mutex);
  stream_->queue->held = false;
}

int64_t waits() {
  const std::lock_guard lock(mutex);
  return waited;
}

}  // namespace emulator

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard lock(mutex);
  *stream = new CUstream_st;
  streams().insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  stream->queue->run();
  streams().erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  emulator::wait_for(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(mutex);
  if (stream != nullptr && stream->capture) {
    capture_broken = true;
    return remember(cudaErrorStreamCaptureIsolation);
  }
  if (event->queue == nullptr) return cudaSuccess;
  return emulator::enqueue(stream, [queue = event->queue, ticket = event->ticket] { queue->run_to(ticket); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  if (emulator::captures(stream)) return emulator::not_in_capture();
  event->queue = stream == nullptr ? nullptr : stream->queue;
  event->ticket = stream == nullptr ? 0 : stream->queue->given;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard lock(mutex);
  return event->queue == nullptr || event->queue->done >= event->ticket ? cudaSuccess : remember(cudaErrorNotReady);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (emulator::not_in_capture() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard lock(mutex);
  ++waited;
  if (event->queue != nullptr) event->queue->run_to(event->ticket);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard lock(mutex);
  if (stream == nullptr || captured != nullptr) return remember(cudaErrorIllegalState);
  captured = stream;
  capture_broken = false;
  stream->capture = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(mutex);
  *graph = nullptr;
  if (captured != stream) return remember(cudaErrorIllegalState);
  captured = nullptr;
  std::unique_ptr<CUgraph_st> made = std::move(stream->capture);
  if (capture_broken) return remember(cudaErrorStreamCaptureInvalidated);
  *graph = made.release();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  // The graph may be destroyed when this is made: the work and its memory move here.
  *exec = new CUgraphExec_st{std::make_shared<CUgraph_st>(std::move(*graph))};
  graph->memory.clear();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (emulator::captures(stream)) return emulator::not_in_capture();
  return emulator::enqueue(stream, [graph = exec->graph] {
    for (const auto& work : graph->works) work();
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
