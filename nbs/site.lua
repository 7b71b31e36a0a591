-- Folds the source of exported cells, which nbdev leaves open; a chapter whose text explains its source line by line
-- keeps it open with `- show_source: true` below its title. Folds a cell of more than four imports and nothing else.
-- Drops `NoneType` and headings of special methods. And shows the words of a badge in its place, so that a page of the site asks nobody else for a picture.
local shown = false

-- How many imports a text is made of; 0 if it holds anything else
local function imports(text)
  local n = 0
  for line in (text .. '\n'):gmatch('(.-)\n') do
    if line:match('^import ') or line:match('^from %S+ import ') then n = n + 1
    elseif line:match('^[^%s)#]') then return 0 end  -- neither the rest of a long import, nor a comment, nor empty
  end
  return n
end

local function fold(block)
  block.attributes['code-fold'] = 'true'
  return block
end

return {
  { Meta = function(meta)
      shown = meta.show_source ~= nil and pandoc.utils.stringify(meta.show_source) == 'true'
    end },
  { CodeBlock = function(block)
      block.text = block.text:gsub(':NoneType=None', '=None')  -- what nbdev takes for the type of an argument without one
      if block.attributes['code-summary'] == 'Exported source' then return not shown and fold(block) or block end
      if block.classes:includes('cell-code') and imports(block.text) > 4 then
        block.attributes['code-summary'] = 'Imports'
        return fold(block)
      end
      return block
    end,
    Header = function(h)  -- a method with two underscores is no heading: its anchor stays
      if h.level == 3 and pandoc.utils.stringify(h):match('%.__%w+__$') then
        return pandoc.Div({ pandoc.Para { pandoc.Strong(h.content) } }, h.attr)
      end
    end,
    Image = function(image)
      if image.src:match('^https?://') then return image.caption end
    end },
}
