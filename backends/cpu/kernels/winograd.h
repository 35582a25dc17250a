// The inner parts of Winograd's convolution (winograd_tile.h has the algorithm): transforms of tiles and filters, and
// the products between them. Serial, f32; 3x3 taps, stride 1.
// The rule: tiles in between lie as [frequency][channel / 16][tile][16], whole cache lines, so that one layout serves
// the products of the forward pass and of both gradients, and no product packs them.
#pragma once

#include <cstdint>

#include "backends/cpu/kernels/dispatch.h"

namespace tacit::cpu {

/// Channels that lie together in a TileBuffer.
inline constexpr int64_t kWinogradBlock = 16;

/// Transformed tiles. Channels are filled up to a multiple of kWinogradBlock with zeros.
struct TileBuffer {
  float* data;
  int64_t frequency;  ///< elements between frequencies
  int64_t block;      ///< elements between blocks of channels: 16 times the tiles that fit
};

/// A map of images (H, W, C) and the tiles it is cut into; beyond its edges it is 0.
struct TileMap {
  int64_t height, width, channels;
  int64_t tiles_h, tiles_w;  ///< of one image
  int64_t top, left;         ///< where tile (0, 0) begins: minus the padding
};

/// One frequency's product over the channels: m (tiles x columns) = v (tiles x depth) u, with u packed in panels
/// [column / nr][depth][nr].
struct WinogradProduct {
  const float* v;
  int64_t v_block;
  const float* u;
  float* m;
  int64_t m_block;
  int64_t tiles, depth, columns;
};

/// One frequency's product over the tiles: du (filters x channels) (+)= d^T (filters x tiles) v (tiles x channels).
struct WinogradSum {
  const float* d;
  int64_t d_block;
  const float* v;
  int64_t v_block;
  float* du;  ///< rows of `columns` elements
  int64_t tiles;
  int64_t rows, columns;  ///< both multiples of kWinogradBlock
  bool accumulate;        ///< continue the sums in du, else start from 0
};

/// Of every `group` tiles, channel by channel: their pixels' mean, and the sum of squares around it.
struct TileMoments {
  float *mean, *squares;  ///< both null: not wanted
  int64_t group, stride;  ///< elements between groups
};

struct WinogradTable {
  int64_t out, in;  ///< outputs and inputs of a tile along one axis; in * in frequencies
  /// B^T d B of tiles [first, first + count), in the order image, row, column; they become tiles 0 … count-1 of `to`.
  void (*input)(const TileBuffer& to, const float* map, const TileMap&, int64_t first, int64_t count);
  /// A dy A^T.
  void (*output_gradient)(const TileBuffer& to, const float* map, const TileMap&, int64_t first, int64_t count);
  /// A^T m A, written into channels [channel, channel + channels) of the map; `from` and the moments begin at the first
  /// of them.
  void (*output)(float* map, const TileMap&, const TileBuffer& from, int64_t first, int64_t count, int64_t channel,
                 int64_t channels, const TileMoments&);
  /// G g G^T of rows x columns kernels: to[f * frequency + i * row + c], c below `columns` rounded up to whole vectors
  /// (zeros there), from w[i * w_row + tap * w_tap + c]. `rotate`: taps from the last to the first.
  void (*weights)(float* to, int64_t frequency, int64_t row, const float* w, int64_t w_row, int64_t w_tap, int64_t rows,
                  int64_t columns, bool rotate);
  /// G^T du G: dw (filters, 3, 3, channels) from du [frequency][filter][row].
  void (*weights_gradient)(float* dw, const float* du, int64_t frequency, int64_t row, int64_t filters,
                           int64_t channels);
};

struct WinogradTables {
  WinogradTable f4, f2;
  int64_t nr;  ///< columns of a packed panel of u
  void (*product)(const WinogradProduct&);
  void (*sum)(const WinogradSum&);
};

TACIT_ISA_TABLE(WinogradTables, winograd_tables)

}  // namespace tacit::cpu
