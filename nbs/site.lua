-- Folds the source of exported cells, which nbdev leaves open; a chapter whose text explains its source line by line
-- keeps it open with `- show_source: true` below its title. And shows the words of a badge in its place, so that a
-- page of the site asks nobody else for a picture.
local shown = false

return {
  { Meta = function(meta)
      shown = meta.show_source ~= nil and pandoc.utils.stringify(meta.show_source) == 'true'
    end },
  { CodeBlock = function(block)
      if shown or block.attributes['code-summary'] ~= 'Exported source' then return nil end
      block.attributes['code-fold'] = 'true'
      return block
    end,
    Image = function(image)
      if image.src:match('^https?://') then return image.caption end
    end },
}
