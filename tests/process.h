// Runs the built command `tacit` (or any program) and collects what it says; for tests of the command line.
#pragma once

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace tacit::testing {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A directory that goes away with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "tacit-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct Outcome {
  int status = -1;  ///< exit status; -1 when a signal ended it
  int signal = 0;
  std::string out, err;
};

/// Whether a child has ended; it can still be waited for.
inline bool has_ended(pid_t pid) {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

struct RunOptions {
  /// Above 0: stderr is a terminal of so many columns; what appears on it is Outcome::err.
  unsigned short columns = 0;
  std::vector<std::pair<std::string, std::string>> environment;
  rlim_t largest_file = RLIM_INFINITY;
  /// Called in the parent while the process runs; may send it signals.
  std::function<void(pid_t)> meanwhile;
};

inline Outcome run_program(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  const TemporaryDirectory scratch;
  const std::string out = scratch / "out", err = scratch / "err";
  int terminal = -1, their_end = -1;
  if (options.columns > 0) {
    const winsize size{24, options.columns, 0, 0};
    if (openpty(&terminal, &their_end, nullptr, nullptr, &size) != 0) throw std::runtime_error("no pseudo-terminal");
  }
  const pid_t pid = fork();
  if (pid == 0) {
    const int out_fd = open(out.c_str(), O_WRONLY | O_CREAT, 0600),
              err_fd = open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(out_fd, STDOUT_FILENO);
    dup2(their_end >= 0 ? their_end : err_fd, STDERR_FILENO);
    for (const auto& variable : options.environment) setenv(variable.first.c_str(), variable.second.c_str(), 1);
    if (options.largest_file != RLIM_INFINITY) {
      const rlimit limit{options.largest_file, options.largest_file};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (options.meanwhile) options.meanwhile(pid);
  std::string shown;
  if (terminal >= 0) {
    close(their_end);
    char buffer[4096];  // until the process ends, which closes the other end
    for (ssize_t n; (n = read(terminal, buffer, sizeof buffer)) > 0;) shown.append(buffer, static_cast<size_t>(n));
    close(terminal);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  Outcome outcome;
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  outcome.out = read_file(out);
  outcome.err = terminal >= 0 ? shown : read_file(err);
  return outcome;
}

inline Outcome run_tacit(std::vector<std::string> arguments, const RunOptions& options = {}) {
  arguments.insert(arguments.begin(), TACIT_BINARY_DIR "/bin/tacit");
  return run_program(arguments, options);
}

/// A run of seconds at most: 200 made-up images of 16 pixels, a narrow network; 12 steps an epoch, five epochs.
inline std::vector<std::string> small_run(const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"pretrain",    "simclr",    "--data",          "synthetic:200",
                                        "--split",     "all",       "--image-size",    "16",
                                        "--encoder",   "small_cnn", "--encoder-width", "8",
                                        "--projector", "16,8",      "--batch-size",    "16",
                                        "--epochs",    "5",         "--out",           out,
                                        "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace tacit::testing
