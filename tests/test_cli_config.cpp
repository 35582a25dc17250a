// Configuration files of the command `tacit`, and --print-config, which writes them.
#include <filesystem>

#include "cli.h"

using namespace tacit::testing;
namespace fs = std::filesystem;

TEST_CASE("print-config: resolved, without running, and it round-trips") {
  const TemporaryDirectory dir;
  const Outcome first = run_tacit(small_run(dir / "run", {"--lr", "0.1", "--print-config"}));
  check_ok(first);
  CHECK_FALSE(fs::exists(dir / "run"));
  CHECK(contains(first.out, "lr = 0.1\n"));
  CHECK(contains(first.out, "image-size = 16\n"));
  write_file(dir / "c.toml", first.out);
  const Outcome second = run_tacit({"pretrain", "simclr", "--config", dir / "c.toml", "--print-config"});
  check_ok(second);
  CHECK(second.out == first.out);
  check_ok(run_tacit({"pretrain", "simclr", "--config", dir / "c.toml", "--out", dir / "run"}));
  CHECK(read_file(dir / "run/config.toml") == first.out);

  check_error(run_tacit({"knn", "run", "--k", "0", "--print-config"}), 2, "--k");
  check_error(run_tacit({"knn", "run", "--device", "foo", "--print-config"}), 2, "--device");
  const Outcome knn = run_tacit({"knn", "run", "--k", "5", "--print-config"});
  check_ok(knn);
  CHECK(contains(knn.out, "k = 5\n"));
}

TEST_CASE("print-config of a command on a run is no mistake as its --config, though it names settings without effect") {
  const TemporaryDirectory dir;
  const auto check_round_trip = [&](const Arguments& command, const Arguments& settings) {
    CAPTURE(command[0]);
    const Outcome first = run_tacit(with(with(command, settings), {"--print-config"}));
    check_ok(first);
    write_file(dir / "c.toml", first.out);
    const Outcome second = run_tacit(with(command, {"--config", dir / "c.toml", "--print-config"}));
    check_ok(second);
    CHECK(second.out == first.out);
    return first.out;
  };
  const std::string evaluation =
      check_round_trip({"evaluate", shared_run()}, {"--supervised=false", "--with-finetuning=false"});
  CHECK_FALSE(contains(evaluation, "recipe"));
  CHECK(contains(check_round_trip({"evaluate", shared_run()}, {"--with-finetuning=false"}), "recipe = 'default'"));
  const std::string queries =
      check_round_trip({"neighbours", shared_run(), "--out", dir / "n.png"}, {"--query", "synthetic:3"});
  CHECK_FALSE(contains(queries, "queries ="));
  const std::string tuning =
      check_round_trip({"finetune", shared_run()}, {"--data", "synthetic:40", "--epochs", "1", "--min-steps", "2"});
  CHECK_FALSE(contains(tuning, "erase-with"));
  CHECK(contains(tuning, "drop-path = 0.0\n"));  // of ViTs; the run has none
  check_ok(run_tacit({"finetune", shared_run(), "--config", dir / "c.toml", "--quiet"}));
}

TEST_CASE("config files: unknown keys and wrong types name the file, the line and the key") {
  const TemporaryDirectory dir;
  write_file(dir / "a.toml", "epochs = 3\nlerning-rate = 0.1\n");
  check_error(run_tacit({"pretrain", "simclr", "--config", dir / "a.toml", "--out", dir / "run"}), 2,
              "line 2: unknown key 'lerning-rate'");
  write_file(dir / "b.toml", "k = 'many'\n");
  check_error(run_tacit(on_run("knn", {"--config", dir / "."})), 1, "is a directory");
  check_error(run_tacit(on_run("knn", {"--config", dir / "b.toml"})), 2, "'k' expects a whole number");
  check_error(run_tacit({"pretrain", "simclr", "--config", dir / "none.toml"}), 1, "none.toml");
}

TEST_CASE("config files: beyond ASCII in strings and comments only") {
  const TemporaryDirectory dir;
  const auto config = [&](const std::string& text) {
    write_file(dir / "c.toml", text);
    return run_tacit({"knn", "run", "--config", dir / "c.toml", "--print-config"});
  };
  const std::string data = "data = ['~/Bücher', '~41', \"ü \\\" ~7E ö \\u00e4\"]";
  const Outcome good = config("# Größe\n" + data + " # µ\n");
  check_ok(good);
  for (const char* part : {"'~/Bücher'", "'~41'", "~7E ö ä"}) CHECK(contains(good.out, part));
  const Outcome again = config(good.out);
  CHECK(again.out == good.out);
  check_error(config("k = 5\n\u00a4\n"), 2, "line 2");
  check_error(config("data = 'x' \u00a4\n"), 2, "line 1");
  check_error(config("7=7\"=0x\u045f\n"), 2, "c.toml, line 1");
}
