<?php
// Prints what in the given files PHP 7.4 would not understand, one finding a line; nothing where all is well.
//
// PHP-Parser reads newer PHP too, so that what is newer shows as nodes of the syntax tree.

require '/usr/share/php/PhpParser/autoload.php';

use PhpParser\Lexer;
use PhpParser\Node;
use PhpParser\NodeTraverser;
use PhpParser\NodeVisitorAbstract;
use PhpParser\Parser\Php7;

const NEWER_FUNCTIONS = ['str_contains', 'str_starts_with', 'str_ends_with', 'get_debug_type', 'get_resource_id', 'fdiv',
    'preg_last_error_msg', 'array_is_list', 'enum_exists', 'fsync', 'fdatasync', 'array_find', 'array_find_key',
    'array_any', 'array_all', 'json_validate', 'mb_str_pad', 'str_increment', 'str_decrement', 'mb_trim', 'mb_ucfirst',
    'mb_lcfirst', 'ini_parse_quantity', 'memory_reset_peak_usage', 'curl_upkeep', 'openssl_cipher_key_length',
'array_first', 'array_last'];
const NEWER_CLASSES = ['WeakMap', 'Stringable', 'ValueError', 'UnhandledMatchError', 'PhpToken', 'Fiber',
    'SensitiveParameter', 'Override', 'Random\\Randomizer'];
const NEWER_TYPES = ['mixed', 'never', 'null', 'false', 'true'];
const NEWER_NODES = [
    Node\Expr\Match_::class, Node\Expr\NullsafeMethodCall::class, Node\Expr\NullsafePropertyFetch::class,
    Node\Expr\Throw_::class, Node\UnionType::class, Node\IntersectionType::class, Node\Stmt\Enum_::class,
    Node\AttributeGroup::class, Node\VariadicPlaceholder::class,
];

class Newer extends NodeVisitorAbstract
{
    /** @var string[] */
    public array $found = [];
    /** @var array the file's tokens */
    public array $tokens = [];

    public function enterNode(Node $node)
    {
        foreach ($this->objections($node) as $words) {
            $this->found[] = "line {$node->getStartLine()}: $words";
        }
        return null;
    }

    private function objections(Node $node): iterable
    {
        foreach (NEWER_NODES as $kind) {
            if ($node instanceof $kind) {
                yield $node->getType();
            }
        }
        if ($node instanceof Node\Param && $node->flags) {
            yield 'constructor promotion';
        }
        if ($node instanceof Node\Arg && $node->name) {
            yield 'a named argument';
        }
        if ($node instanceof Node\Stmt\Catch_ && !$node->var) {
            yield 'catch without a variable';
        }
        if ($node instanceof Node\Stmt\Property && $node->isReadonly()) {
            yield 'readonly';
        }
        if ($node instanceof Node\Stmt\ClassConst && $node->isFinal()) {
            yield 'a final constant';
        }
        if ($node instanceof Node\Expr\ClassConstFetch && $node->class instanceof Node\Expr && "$node->name" === 'class') {
            yield 'class of an object';
        }
        if ($node instanceof Node\FunctionLike) {
            yield from $this->objectionsToSignature($node);
        }
        if ($node instanceof Node\Expr\FuncCall && $node->name instanceof Node\Name && in_array(strtolower($node->name->getLast()), NEWER_FUNCTIONS, true)) {
            yield "the function {$node->name->getLast()}";
        }
        if ($node instanceof Node\Name && in_array(ltrim("$node", '\\'), NEWER_CLASSES, true)) {
            yield "the class $node";
        }
    }

    private function objectionsToSignature(Node\FunctionLike $function): iterable
    {
        $types = array_map(fn ($param) => $param->type, $function->getParams());
        foreach ([...$types, $function->getReturnType()] as $type) {
            $name = $type instanceof Node\Name || $type instanceof Node\Identifier ? strtolower("$type") : '';
            if (in_array($name, NEWER_TYPES, true)) {
                yield "the type $name";
            }
        }
        if ($function->getReturnType() instanceof Node\Name && strtolower("{$function->getReturnType()}") === 'static') {
            yield 'the return type static';
        }
        foreach ($function->getParams() as $param) {
            if ($param->default instanceof Node\Expr\New_) {
                yield 'new in a default';
            }
        }
        $last = $function->getParams() ? $this->after(array_slice($function->getParams(), -1)[0]) : '';
        $uses = $function instanceof Node\Expr\Closure ? $function->uses : [];
        if ($last === ',' || ($uses && $this->after(end($uses)) === ',')) {
            yield 'a comma after the last parameter';
        }
    }

    /** The token that follows a node. */
    private function after(Node $node): string
    {
        for ($place = $node->getEndTokenPos() + 1;; $place++) {
            $token = $this->tokens[$place] ?? '';
            if (!is_array($token) || !in_array($token[0], [T_WHITESPACE, T_COMMENT, T_DOC_COMMENT], true)) {
                return is_array($token) ? $token[1] : $token;
            }
        }
    }
}

$lexer = new Lexer\Emulative(['usedAttributes' => ['startLine', 'endLine', 'startTokenPos', 'endTokenPos']]);
$parser = new Php7($lexer);
foreach (array_slice($argv, 1) as $file) {
    $newer = new Newer();
    $traverser = new NodeTraverser();
    $traverser->addVisitor($newer);
    $tree = $parser->parse(file_get_contents($file));
    $newer->tokens = $lexer->getTokens();
    $traverser->traverse($tree);
    foreach ($newer->found as $words) {
        echo "$file: $words\n";
    }
}
