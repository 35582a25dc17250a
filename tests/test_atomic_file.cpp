// Files that are replaced whole or not at all, whatever happens on the way; npy files, which are made so.
#include "tensor/atomic_file.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "tensor/npy.h"
#include "tensor/ops.h"
#include "tensor/safetensors.h"
#include "tests/process.h"
#include "tests/values.h"

using namespace tacit;
using namespace tacit::testing;
using tacit::testing::read_file;
using tacit::testing::TemporaryDirectory;
using tacit::testing::write_file;

namespace {

/// Runs f in a child process and gives the signal that ended it, or 0.
template <class F>
int signal_of(F&& f) {
  const pid_t pid = fork();
  if (pid == 0) {
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("atomic files: replaced whole, or not at all") {
  const TemporaryDirectory folder;
  const std::string path = folder / "file";
  write_file_atomically(path, "old");
  write_file_atomically(path, "new");
  CHECK(read_file(path) == "new");
  write_file(path + AtomicFile::kTemporarySuffix, "left by a killed process, and longer");
  write_file_atomically(path, "newer");
  CHECK(read_file(path) == "newer");
  { AtomicFile(path).write(std::string("never committed")); }
  CHECK(read_file(path) == "newer");
  CHECK_FALSE(std::filesystem::exists(path + AtomicFile::kTemporarySuffix));

  const AtomicFile held(path);
  CHECK(mentions(error_of([&] { write_file_atomically(path, "x"); }), path + ": another process is writing it"));
  CHECK(std::filesystem::exists(path + AtomicFile::kTemporarySuffix));
}

TEST_CASE("atomic files: a file in /dev/shm is a file like others") {
  if (!std::filesystem::is_directory("/dev/shm")) {
    std::printf("skipped: files in /dev/shm: there is no such directory\n");
    return;
  }
  const std::string path = "/dev/shm/tacit-test-" + std::to_string(::getpid());
  write_file_atomically(path, "old, and longer");
  write_file_atomically(path, "new");
  CHECK(read_file(path) == "new");
  std::filesystem::remove(path);
}

TEST_CASE("atomic files: a file of the user's beside it and the old file's permissions stay") {
  namespace fs = std::filesystem;
  const TemporaryDirectory folder;
  const std::string path = folder / "out.png";
  write_file(folder / "out.png.tmp", "the user's own");
  write_file_atomically(path, "old");
  CHECK(read_file(folder / "out.png.tmp") == "the user's own");
  for (const unsigned mode : {0600u, 0664u, 0444u}) {
    fs::permissions(path, static_cast<fs::perms>(mode));
    write_file_atomically(path, "new");
    CHECK(static_cast<unsigned>(fs::status(path).permissions()) == mode);
  }
}

TEST_CASE("atomic files: a directory in the way, a missing folder, a file as folder") {
  const TemporaryDirectory folder;
  std::filesystem::create_directory(folder / "taken");
  std::filesystem::create_directory(folder / "other.tacit-partial");
  write_file(folder / "file", "x");
  CHECK(mentions(error_of([&] { write_file_atomically(folder / "taken", "x"); }), "Is a directory"));
  CHECK(mentions(error_of([&] { write_file_atomically(folder / "other", "x"); }), "Is a directory"));
  CHECK(mentions(error_of([&] { write_file_atomically(folder / "none/x", "x"); }), "No such file or directory"));
  CHECK(mentions(error_of([&] { write_file_atomically(folder / "file/x", "x"); }), "Not a directory"));
  CHECK(std::filesystem::is_empty(folder / "taken"));
}

TEST_CASE("atomic files: no space is an Error, the old file stays, the temporary one goes") {
  const TemporaryDirectory folder;
  const std::string path = folder / "file";
  write_file_atomically(path, "old");
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] {
    write_safetensors(path, {.tensors = {{"x", Tensor::ones({2000})}}, .metadata = {}});
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(mentions(message, path + ": no space left"));
  CHECK(read_file(path) == "old");
  CHECK_FALSE(std::filesystem::exists(path + AtomicFile::kTemporarySuffix));
}

TEST_CASE("atomic files: killed at any point, there is the old file or the new one") {
  struct Point {
    const char* crash_at;
    int signal;
    const char* left;
  };
  const TemporaryDirectory folder;
  const std::string path = folder / "file";
  for (const Point& point : {Point{"write:1", SIGKILL, "old"}, Point{"write:2", SIGKILL, "old"},
                             Point{"fsync:1", SIGKILL, "old"}, Point{"rename:1", SIGKILL, "new content"},
                             Point{"rename:2", 0, "new content"}, Point{"writes:1", 0, "new content"}}) {
    CAPTURE(point.crash_at);
    write_file_atomically(path, "old");
    const int signal = signal_of([&] {
      setenv("TACIT_CRASH_AT", point.crash_at, 1);
      AtomicFile file(path);
      file.write(std::string("new "));
      file.write(std::string("content"));
      file.commit();
    });
    CHECK(signal == point.signal);
    CHECK(read_file(path) == point.left);
  }
}

TEST_CASE("npy: the bytes of version 1.0") {
  const TemporaryDirectory folder;
  const std::string path = folder / "x.npy";
  write_npy(path, tensor_of({1, 2, 3, 4}, {2, 2}).t());
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
  header.resize(117, ' ');
  const std::string data("\0\0\x80\x3f\0\0\x40\x40\0\0\0\x40\0\0\x80\x40", 16);
  CHECK(read_file(path) == std::string("\x93NUMPY\1\0\x76\0", 10) + header + "\n" + data);
  for (const auto& [t, descriptor] :
       std::vector<std::pair<DType, std::string>>{{f64, "'<f8'"}, {i64, "'<i8'"}, {i32, "'<i4'"}, {u8, "'|u1'"}}) {
    write_npy(path, Tensor::zeros({5}, t));
    CHECK(mentions(read_file(path), descriptor));
    CHECK(mentions(read_file(path), "'shape': (5,), }"));
    CHECK(read_file(path).size() == 128 + 5 * size_of(t));
  }
  write_npy(path, Tensor::scalar(1));
  CHECK(mentions(read_file(path), "'shape': (), }"));
  CHECK(mentions(error_of([&] { write_npy(path, Tensor::ones({1}, bf16)); }), "NumPy has no bf16"));
  CHECK(mentions(error_of([&] { write_npy(folder / "none/x.npy", Tensor::ones({1})); }), "No such file"));
}
