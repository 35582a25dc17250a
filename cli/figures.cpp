#include "cli/figures.h"

#include <nlohmann/json.hpp>

namespace tacit::cli {

namespace {
nlohmann::json json_of(const ssl::ThreeWay& x) { return {{"pixels", x.pixels}, {"random", x.random}, {"run", x.run}}; }
}  // namespace

nlohmann::json to_json(const ssl::EvaluationTable& table) {
  nlohmann::json rows = nlohmann::json::array();
  for (const ssl::LabelEfficiencyRow& r : table.label_efficiency)
    rows.push_back({{"labels_per_class", r.labels_per_class},
                    {"method", r.method},
                    {"mean", r.mean},
                    {"std", r.std},
                    {"draws", r.draws}});
  return {{"knn", json_of(table.knn)},
          {"linear", json_of(table.linear)},
          {"label_efficiency", rows},
          {"clustering",
           {{"k", table.clusters}, {"nmi", json_of(table.nmi)}, {"accuracy", json_of(table.cluster_accuracy)}}},
          {"feature_std", table.feature_std},
          {"rank_me", table.rank_me}};
}

nlohmann::json to_json(const ssl::KnnResult& r) {
  return {{"top1", r.top1},
          {"k", r.options.k},
          {"temperature", r.options.temperature},
          {"train_images", r.train_images},
          {"test_images", r.test_images}};
}

nlohmann::json to_json(const ssl::LinearProbeResult& r) {
  nlohmann::json sweep = nlohmann::json::array();
  for (const ssl::SweepPoint& p : r.sweep) sweep.push_back({{"lr", p.lr}, {"validation_top1", p.validation_top1}});
  return {{"top1", r.top1}, {"best_lr", r.best_lr}, {"sweep", sweep}};
}

nlohmann::json to_json(const std::vector<ssl::LabelDraw>& draws) {
  nlohmann::json list = nlohmann::json::array();
  for (const ssl::LabelDraw& d : draws)
    list.push_back({{"labels_per_class", d.labels_per_class}, {"draw", d.draw}, {"indices", d.indices}});
  return list;
}

}  // namespace tacit::cli
