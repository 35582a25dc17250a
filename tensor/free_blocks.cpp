#include "tensor/free_blocks.h"

#include <iterator>

namespace tacit {

void* FreeBlocks::take(size_t bytes) {
  const auto found = by_size_.lower_bound({bytes, nullptr});
  if (found == by_size_.end()) return nullptr;
  const auto [size, block] = *found;
  if (size == bytes) {
    by_size_.erase(found);
    by_address_.erase(block);
    return block;
  }
  // The end is cut off, so that only the size changes: nothing is allocated.
  auto node = by_size_.extract(found);
  node.value().first = size - bytes;
  by_size_.insert(std::move(node));
  by_address_.at(block) = size - bytes;
  return block + (size - bytes);
}

void FreeBlocks::give(void* given, size_t bytes) {
  char* const block = static_cast<char*>(given);
  const auto after = by_address_.lower_bound(block);
  const bool joins_after = after != by_address_.end() && block + bytes == after->first;
  const auto before = after == by_address_.begin() ? by_address_.end() : std::prev(after);
  const bool joins_before = before != by_address_.end() && before->first + before->second == block;
  const auto resize = [this](char* at, size_t from, char* moved, size_t to) {
    auto node = by_size_.extract({from, at});
    node.value() = {to, moved};
    by_size_.insert(std::move(node));
  };
  if (joins_before) {
    const size_t old = before->second;
    before->second += bytes;
    if (joins_after) {
      before->second += after->second;
      by_size_.erase({after->second, after->first});
      by_address_.erase(after);
    }
    resize(before->first, old, before->first, before->second);
  } else if (joins_after) {
    resize(after->first, after->second, block, after->second + bytes);
    auto node = by_address_.extract(after);
    node.key() = block;
    node.mapped() += bytes;
    by_address_.insert(std::move(node));
  } else {
    const auto sized = by_size_.insert({bytes, block}).first;
    try {
      by_address_.insert({block, bytes});
    } catch (...) {
      by_size_.erase(sized);
      throw;
    }
  }
}

}  // namespace tacit
